"""The command line as a process of its own: signals, a terminal, a disk that takes no more."""

import os
import pty
import re
import resource
import select
import signal
import subprocess
import sys
import time

import pytest

from ostinato import training

OSTINATO = [sys.executable, "-m", "ostinato"]


def train(tiny_recipe, tiny_folder, out, *more):
    """The arguments of a training that would take far too long."""
    return [
        *OSTINATO, "train", str(tiny_recipe), "--data", str(tiny_folder), "--out", str(out),
        "--threads", "1", *more,
    ]  # fmt: skip


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_everything(tiny_recipe, tiny_folder, tmp_path, number):
    out = tmp_path / "run"
    process = subprocess.Popen(
        train(tiny_recipe, tiny_folder, out, "--steps", "100000"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: process.stdout.readline().count("step"))
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    said = re.fullmatch(
        r"ostinato: Stopped after step (\d+) of 100000; everything is saved. Go on with: "
        rf"ostinato resume {re.escape(str(out))}\n",
        err,
    )
    assert said
    rows = (out / "metrics.csv").read_text().splitlines()
    assert rows[-1].split(",")[0] == said.group(1)


def test_a_file_that_may_not_grow(tiny_recipe, tiny_folder, tmp_path):
    """The system itself refuses: the first checkpoint fits, those with an optimiser's memory do not."""
    out = tmp_path / "run"

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, resource.RLIM_INFINITY))

    done = subprocess.run(
        train(tiny_recipe, tiny_folder, out),
        preexec_fn=limit, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "the system refused: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [name for name in os.listdir(out) if name.endswith(".part")]
    run, _ = training.resume(out)
    assert run.read_record().status == "finished"


def test_a_bar_on_a_terminal(tiny_recipe, tiny_folder, tmp_path):
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "140", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        train(tiny_recipe, tiny_folder, tmp_path / "run"), stdout=theirs, stderr=theirs, env=environment
    )
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
    assert re.search(r"epoch 2 .*14/14 loss \d\.\d{4} {2}accuracy \d\.\d{4} \d+\.\d steps/s", text)
    assert "left" in text
    assert "validation loss" in text
    assert "The saved model, read back from disk" in text
    assert "━" in text


def test_a_second_process_reads_what_the_first_one_wrote(tiny_recipe, tiny_folder, tmp_path):
    out = tmp_path / "run"
    first = subprocess.run(
        train(tiny_recipe, tiny_folder, out), capture_output=True, text=True, check=True
    )
    again = subprocess.run(
        [*OSTINATO, "evaluate", str(out)], capture_output=True, text=True, check=True
    )
    assert again.stdout.strip() in first.stdout
