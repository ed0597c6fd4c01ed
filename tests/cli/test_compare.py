"""`ostinato compare` on the command line: what it prints, how it says no, that it can be stopped."""

import os
import pty
import re
import select
import signal
import subprocess

import pytest
from tests.cli.test_process import OSTINATO, wait_for

from ostinato.lab.compare import Comparison
from ostinato.training import RunFolder


@pytest.fixture
def two_files(tiny_recipe, tmp_path):
    """The small recipe, and the same with other settings under another name."""
    other = tmp_path / "other.toml"
    text = tiny_recipe.read_text()
    other.write_text(text.replace('"tiny"', '"other"').replace("hidden = 12", "hidden = 16"))
    return [tiny_recipe, other]


def test_recipes_side_by_side(ostinato, two_files, tiny_folder, tmp_path):
    out = tmp_path / "out"
    code, said, err = ostinato(
        "compare", *two_files, "--data", tiny_folder, "--out", out, "--seeds", 2, "--steps", 4,
        "--set", "log.line=2", "--threads", 1, "--to", 0.5, "--no-memory",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "\x1b" not in said
    progress, _, end = said.partition("\nrecipe ")
    assert "seed 1 (0, 1 all in all)" in progress
    for name in ("tiny", "other"):
        lines = re.findall(rf"^{name}  0:00:\d\d  epoch 1  step [24]/4  loss ", progress, re.MULTILINE)
        assert len(lines) == 4
        row = re.search(rf"^{name} .*", end, re.MULTILINE).group()
        assert re.search(r"\d\d?\.\d\d% ± \d+\.\d\d% .* not reached +not reached +\w+$", row)
    assert "test accuracy  " in end
    assert "steps to 0.5" in end
    assert str(out / "report.html") in end
    for name in ("tiny", "other"):
        for seed in (0, 1):
            recipe = RunFolder.open(out / f"runs/{name}-seed{seed}").read_recipe()
            assert (recipe.training.seed, recipe.training.steps) == (seed, 4)
    code, again, err = ostinato("resume", out)
    assert (code, err) == (0, "")
    assert again.strip() == ("recipe " + end).strip()


def test_finished_runs(ostinato, two_files, tiny_folder, tmp_path):
    for number, recipe in enumerate(two_files):
        arguments = ["--data", tiny_folder, "--steps", 2, "--out", tmp_path / str(number)]
        assert ostinato("train", recipe, *arguments)[0] == 0
    code, said, err = ostinato("compare", tmp_path / "0", tmp_path / "1", "--out", tmp_path / "both")
    assert (code, err) == (0, "")
    assert "trained apart" in " ".join(said.split())
    assert "epoch" not in said
    assert not Comparison.open(tmp_path / "both").by_turns


REFUSED = {
    "no such recipe": (["sru", "lsmt"], 'There is no recipe "lsmt"'),
    "one alone": (["sru"], "needs two recipes or more, got 1"),
    "no seeds": (["sru", "lstm", "--seeds", "0"], "expected different seeds of 0 or more"),
    "a seed twice": (["sru", "lstm", "--seeds", "1,1"], "expected different seeds"),
    "something else there": (["sru", "lstm", "--out", "letter"], "found something else in it"),
    "no place": (["sru", "lstm", "--out", "/proc/x/y"], "a comparison cannot be written there"),
    "no data": (["sru", "lstm", "--data", "nowhere"], "expected a folder with the four IDX files"),
    "no runs": (["letter", "letter"], "recipe.toml is missing"),
    "one run alone": (["letter"], "needs two runs or more, got 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_is_one_paragraph_and_exit_code_2(ostinato, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letter").mkdir()
    (tmp_path / "letter/dear.txt").write_text("Sir")
    arguments, words = REFUSED[name]
    code, said, err = ostinato("compare", *arguments)
    assert (code, said) == (2, "")
    assert words in err
    assert err.startswith("ostinato: ")
    assert "Traceback" not in err
    assert os.listdir(tmp_path) == ["letter"]


USAGE = {
    "seeds in words": (
        ["sru", "lstm", "--seeds", "many"],
        "expected --seeds N, or numbers of 0 or more",
    ),
    "a negative seed": (["sru", "lstm", "--seeds", "-1,2"], "expected --seeds N, or numbers of 0"),
    "an accuracy of many": (["sru", "lstm", "--to", "97"], "less than or equal to 1"),
    "a recipe and a run": (["sru", "."], "expected recipes or folders of runs, got both"),
    "runs that should change": ([".", ".", "--steps", "3"], "runs are as they are"),
    "two lengths": (["sru", "lstm", "--steps", "3", "--epochs", "1"], "expected --steps or --epochs"),
}


@pytest.mark.parametrize("name", USAGE)
def test_usage(ostinato, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, words = USAGE[name]
    code, _, err = ostinato("compare", *arguments)
    assert code == 2
    assert words in " ".join(err.replace("│", " ").split())


def test_help_says_what_the_two_words_stand_for(ostinato):
    code, said, _ = ostinato("compare", "--help")
    said = " ".join(said.replace("│", " ").split())
    assert code == 0
    assert "static dynamic, which stand for lstm-static and lstm-dynamic" in said
    assert "Example: ostinato compare sru lstm" in said


def endless(two_files, tiny_folder, out):
    return [
        *OSTINATO, "compare", *map(str, two_files), "--data", str(tiny_folder), "--out", str(out),
        "--threads", "1", "--no-memory",
    ]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_goes_on_with_the_same_command(two_files, tiny_folder, tmp_path, number):
    out = tmp_path / "out"
    command = [*endless(two_files, tiny_folder, out), "--steps", "3000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: process.stdout.readline().count("step"))
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == f"ostinato: Stopped; everything is saved. Go on with: ostinato resume {out}\n"
    done = [
        int((out / f"runs/{name}-seed0/metrics.csv").read_text().splitlines()[-1].split(",")[0])
        for name in ("tiny", "other")
    ]
    assert 0 < min(done) <= max(done) <= min(done) + 1
    again = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = [again.stdout.readline() for _ in range(2)]
    again.send_signal(signal.SIGKILL)
    again.communicate()
    assert [int(re.search(r"from step (\d+) on", line).group(1)) for line in said] == done


def test_stopped_while_memory_is_measured(two_files, tiny_folder, tmp_path):
    """Ctrl-C comes to every process of the terminal; the next one only measures what is missing."""
    out = tmp_path / "out"
    command = [each for each in endless(two_files, tiny_folder, out) if each != "--no-memory"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **pipes, start_new_session=True)
    wait_for(lambda: process.stdout.readline().startswith("memory of a training step of tiny"))
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == f"ostinato: Stopped; everything is saved. Go on with: ostinato resume {out}\n"
    again = subprocess.run(command, **pipes, check=True)
    assert "epoch" not in again.stdout
    assert all(each.memory for each in Comparison.open(out).entrants)


def test_a_bar_for_each_on_a_terminal(two_files, tiny_folder, tmp_path):
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "160", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        endless(two_files, tiny_folder, tmp_path / "out"), stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    screen = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        screen += part
    assert process.wait(timeout=60) == 0
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", screen).decode()
    for name in ("tiny", "other"):
        assert re.search(rf"{name} +epoch 2 .*14/14 loss \d\.\d{{4}} {{2}}accuracy", text)
        assert f"{name}  epoch 1  step 5  validation loss" in text
    assert "report" in text
