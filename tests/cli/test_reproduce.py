"""`ostinato reproduce --quick` for real: on all of MNIST, interrupted, and resumed."""

import signal
import subprocess
import sys

OSTINATO = [sys.executable, "-m", "ostinato"]


def test_quick_interrupted_and_resumed(tmp_path):
    out = tmp_path / "reproduction"
    process = subprocess.Popen(
        [*OSTINATO, "reproduce", "sru", "--quick", "--threads", "1", "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not (line := process.stdout.readline()).startswith("2/2"):
        assert process.poll() is None, process.stderr.read()
    assert "training sru, lstm" in line
    while len(list(out.glob("comparisons/sru/runs/*/run.json"))) < 2:
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    done = subprocess.run([*OSTINATO, "resume", str(out)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1/2" not in done.stdout, "the timing was done again"
    assert "2/2  sru " in done.stdout
    table = " ".join(done.stdout.split())
    assert "published ours (quick)" in table
    assert "test accuracy, SRU 97.19%" in table
    assert "Nothing here is a measure of accuracy" in table
    assert str(out / "report.html") in done.stdout


def test_a_mistake_is_one_paragraph(ostinato, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = ostinato("reproduce", "six", "--quick")
    assert (code, out) == (2, "")
    assert err.startswith('ostinato: There is no tutorial "six"; known: 1, 2, 3, 4, 5, bigru, deep,')
    code, _, err = ostinato("reproduce", "--seeds", "0")
    assert code == 2
    assert "greater than or equal to 1" in " ".join(err.replace("│", " ").split())
    assert not list(tmp_path.iterdir())
