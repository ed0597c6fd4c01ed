"""`ostinato sweep` and `ostinato resume` of a sweep: what they print, in a pipe and on a terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys

import pytest

OSTINATO = [sys.executable, "-m", "ostinato"]


def command(tiny_recipe, tiny_folder, out, *more):
    return [
        *OSTINATO, "sweep", str(tiny_recipe), "--data", str(tiny_folder), "--out", str(out),
        "--over", "optimizer.lr=1e-3..1e-1:log", "--threads", "1", *more,
    ]  # fmt: skip


def run(*arguments):
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


def test_lines_in_a_pipe(tiny_recipe, tiny_folder, tmp_path):
    out = tmp_path / "sweep"
    done = run(*command(tiny_recipe, tiny_folder, out, "--trials", "2", "--steps", "3"))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    begun = [line for line in lines if re.match(r"[12]/2  optimizer.lr = 0\.\d+$", line)]
    ended = [line for line in lines if re.match(r"[12]/2  finished with \d+\.\d\d%", line)]
    assert (len(begun), len(ended)) == (2, 2)
    assert re.search(
        r"^Best of 2 trials: optimizer.lr = 0\.\d+, with \d+\.\d\d% on the", done.stdout, re.M
    )
    for name in ("report.html", "sweep.png", "best.toml"):
        assert str(out / name) in done.stdout
    assert "\x1b" not in done.stdout
    best = ["train", str(out / "best.toml"), "--data", str(tiny_folder)]
    again = run(*OSTINATO, *best, "--out", str(tmp_path / "run"))
    assert again.returncode == 0


def test_ctrl_c_then_resume(tiny_recipe, tiny_folder, tmp_path):
    out = tmp_path / "sweep"
    # The second trial is not due to end by itself.
    process = subprocess.Popen(
        command(tiny_recipe, tiny_folder, out, "--trials", "2", "--steps", "200"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not process.stdout.readline().startswith("2/2"):
        assert process.poll() is None
    while not (out / "trials" / "2" / "run.json").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    done = run(*OSTINATO, "resume", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    assert "1/2" not in done.stdout, "a finished trial began again"
    assert "2/2  finished" in done.stdout
    assert "Best of 2 trials" in done.stdout


def test_bars_on_a_terminal(tiny_recipe, tiny_folder, tmp_path):
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "140", "TERM": "xterm-256color"}
    arguments = command(tiny_recipe, tiny_folder, tmp_path / "sweep", "--trials", "2")
    process = subprocess.Popen(arguments, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    screen = b""
    while True:
        ready, _, _ = select.select([ours], [], [], 60)
        assert ready, "the terminal stayed silent"
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        screen += part
    assert process.wait(timeout=60) == 0
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", screen).decode()
    assert re.search(r"stages .*1/2 +optimizer.lr = 0\.\d+", text)
    assert re.search(r"steps .*14/14 loss \d\.\d{4} {2}accuracy \d\.\d{4}", text)
    assert re.search(r"2/2  optimizer.lr = 0\.\d+  finished with", text)


REFUSED = {
    "nothing to search": ([], "--over"),
    "no key": (["--over", "optimizer.lrr=1,2"], 'did you mean "optimizer.lr"?'),
    "empty range": (["--over", "optimizer.lr=1..1"], "the range is empty"),
    "two lengths": (["--over", "model.hidden=6,9", "--steps", "1", "--epochs", "1"], "got both"),
    "no trials": (
        ["--over", "model.hidden=6,9", "--trials", "0"],
        "should be greater than or equal to 1",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_is_told_and_nothing_is_made(ostinato, name, tiny_recipe, tmp_path):
    arguments, words = REFUSED[name]
    code, out, err = ostinato("sweep", tiny_recipe, "--out", tmp_path / "out", *arguments)
    assert (code, out) == (2, "")
    assert words in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_no_trial_comes_to_its_end(ostinato, tiny_recipe, tiny_folder, tmp_path):
    code, out, err = ostinato(
        "sweep", tiny_recipe, "--data", tiny_folder, "--out", tmp_path / "out",
        "--set", 'optimizer={name="sgd", lr=1.0, momentum=0.0}', "--set", "training.clip_norm=0",
        "--over", "optimizer.lr=1e38,2e38",
    )  # fmt: skip
    assert code == 2
    assert out.count("failed: ") == 2
    assert err.endswith("no trial came to its end; the table says why.\n")
