"""`ostinato bench` on the command line: what it prints, how it says no, that it can be stopped."""

import json
import os
import pty
import re
import select
import signal
import subprocess

import pytest
from tests.cli.test_process import OSTINATO, wait_for

from ostinato.lab import bench as lab
from ostinato.lab.bench import Benchmark

QUICK = ("width-train-lstm/*", "--filter", "/32", "--peers", "torch.nn,loop", "--quick")


def test_a_quick_one_from_one_end_to_the_other(ostinato, tmp_path):
    out, file = tmp_path / "out", tmp_path / "found.json"
    code, said, err = ostinato("bench", *QUICK, "--threads", 1, "--json", file, "--out", out)
    assert (code, err) == (0, "")
    assert "\x1b" not in said
    assert re.search(r"^1/1  ours \S+ ms; torch\.nn \S+ ms \S+×; loop \S+ ms \S+×$", said, re.MULTILINE)
    assert re.search(r"^width-train-lstm/32 .* torch\.nn  +\S+ ms +\S+× ", said, re.MULTILINE)
    assert "Small sizes, which say nothing of speed." in " ".join(said.split())
    assert str(out / "report.html") in said
    assert str(file) in said
    assert json.loads(file.read_text()) == json.loads((out / "bench.json").read_text())
    assert "Benchmark" in (out / "report.html").read_text()
    code, again, err = ostinato("resume", out)
    assert (code, err) == (0, "")
    assert again.strip() in said


def test_ragged_resets_and_streams_too(ostinato):
    code, said, err = ostinato(
        "bench", "ragged/train-gru", "resets/train-lstm", "stream/lstm-32", "--quick", "--threads", 1
    )
    assert (code, err) == (0, "")
    for name in ("torch.nn packed", "torch.nn padded", "steps of nn.LSTM", "nn.LSTM"):
        assert re.search(rf" {re.escape(name)} +\S+ ms ", said), name


def test_numbers_alone(ostinato):
    code, said, err = ostinato("bench", "width-*", "--filter", "gru/64", "--check")
    assert (code, err) == (0, "")
    assert said.count("numbers agree") == 2
    assert " ms" not in said


def test_the_list(ostinato):
    code, said, err = ostinato("bench", "--list")
    assert (code, err) == (0, "")
    for case in lab.CASES:
        assert re.search(rf"^{re.escape(case.name)} ", said, re.MULTILINE), case.name
    for peer in lab.PEERS:
        assert re.search(rf"^{re.escape(peer)} ", said, re.MULTILINE), peer
    assert "Without a name these are measured: everyone/train-lstm, " in said
    code, said, _ = ostinato("bench", "--list", "--peers", "sru")
    assert "everyone/train-sru2" in said
    assert "stream/" not in said.partition("\n\n")[0]


def test_numbers_that_differ_are_exit_code_1(ostinato, monkeypatch):
    from ostinato.lab.bench.peers import torch_nn

    monkeypatch.setattr(torch_nn, "_turned", lambda a: a.transpose(0, 1).contiguous().flip(0))
    code, said, _ = ostinato("bench", *QUICK)
    assert code == 1
    assert "differ in outputs by" in said


REFUSED = {
    "no such case": (
        ["train/lstm-2x127"],
        'no case "train/lstm-2x127"; did you mean "train/lstm-2x128"',
    ),
    "no such peer": (["--peers", "torch.nn,tensorflw"], 'did you mean "tensorflow"'),
    "nothing of that name": (["--filter", "zebra"], 'has "zebra" in its name'),
    "something else there": ([*QUICK, "--out", "letter"], "found something else in it"),
    "no place": ([*QUICK, "--out", "/proc/x/y"], "a bench cannot be written there"),
    "no place for JSON": ([*QUICK, "--json", "/proc/found.json"], "the system refused"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_is_one_paragraph_and_exit_code_2(ostinato, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letter").mkdir()
    (tmp_path / "letter/dear.txt").write_text("Sir")
    arguments, words = REFUSED[name]
    code, said, err = ostinato("bench", *arguments)
    assert (code, said) == (2, "")
    assert words in err
    assert err.startswith("ostinato: ")
    assert "Traceback" not in err
    assert os.listdir(tmp_path) == ["letter"]


def test_two_forms_at_once(ostinato):
    code, _, err = ostinato("bench", "--check", "--quick")
    assert code == 2
    assert "expected --check or --quick, got both" in " ".join(err.replace("│", " ").split())


def test_help_has_an_example(ostinato):
    code, said, _ = ostinato("bench", "--help")
    assert code == 0
    assert "Example: ostinato bench 'train/*' --peers torch.nn,jax" in " ".join(said.split())


LONG = ["bench", "width-*/32", "--peers", "loop", "--seconds", "2", "--threads", "1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_has_what_was_measured(tmp_path, number):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*OSTINATO, *LONG, "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: process.stdout.readline().startswith("2/4  width"))
    process.send_signal(number)
    said, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == ("ostinato: stopped after 1 of 4 cases; the same command goes on from here.\n")
    assert re.search(r"^width-train-lstm/32 .* loop ", said, re.MULTILINE)
    assert "Stopped: 3 of 4 cases were not measured." in said
    found = Benchmark.open(out)
    assert (found.status, [*found.cases]) == ("working", ["width-train-lstm/32"])
    assert (out / "report.html").is_file()


def test_a_bar_on_a_terminal():
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*OSTINATO, "bench", *QUICK],
        stdout=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "150"},
    )
    os.close(theirs)
    said = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            said += os.read(ours, 4096)
        except OSError:
            break
    os.close(ours)
    assert process.wait(timeout=60) == 0
    assert "━" in said.decode()
    assert "width-train-lstm/32" in said.decode()
    assert "steps " not in said.decode().partition("case ")[0]
