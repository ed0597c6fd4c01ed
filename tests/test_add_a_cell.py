"""docs/add-a-cell.md, followed to the letter: its files are written, its commands are run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import TRAINED, VALIDATED
from tests.pages import ROOT, Commands, shown, steps

PAGE = ROOT / "docs/add-a-cell.md"


def copied(to):
    """A clone, but for MNIST and for what the page does not touch."""
    shutil.copytree(ROOT / "src", to / "src", ignore=shutil.ignore_patterns("__pycache__", "bundle"))
    shutil.copytree(
        ROOT / "tests/contract", to / "tests/contract", ignore=shutil.ignore_patterns("__pycache__")
    )
    (to / "tests/cells").mkdir()
    for name in ("pyproject.toml", "tests/__init__.py", "tests/conftest.py"):
        shutil.copy(ROOT / name, to / name)


def write(root, edit):
    file = root / edit.path
    if edit.after is None:
        assert not file.exists(), f"{edit.path} is there already"
        file.write_text(edit.text)
        return
    lines = file.read_text().splitlines(keepends=True)
    places = [index for index, line in enumerate(lines) if line == edit.after + "\n"]
    assert len(places) == 1, f"{edit.path} has {len(places)} lines {edit.after!r}"
    lines.insert(places[0] + 1, edit.text)
    file.write_text("".join(lines))


def run(root, line, digits):
    """One command; training reads a few digits, since all of them would take a minute."""
    command = shlex.split(line)
    if command[:2] == ["ostinato", "train"]:
        few = [f"data.train={TRAINED}", f"data.validation={VALIDATED}"]
        command += ["--data", str(digits), *(word for each in few for word in ("--set", each))]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    program = shutil.which(command[0], path=path)
    assert program, command[0]
    done = subprocess.run([program, *command[1:]], cwd=root, env=environment, text=True,
                          capture_output=True)  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_page_makes_a_cell(tmp_path, tiny_folder):
    copied(tmp_path)
    said = {}
    for step in steps(PAGE):
        if isinstance(step, Commands):
            said |= {line: run(tmp_path, line, tiny_folder) for line in step.lines}
        else:
            write(tmp_path, step)

    contract, formula, look, short, train, evaluate, use = said.values()
    assert int(re.search(r"(\d+) passed", contract)[1]) > 40
    assert "1 passed" in formula
    (said_to_print,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown(look, said_to_print) == said_to_print
    for output in (short, train):
        assert "read back from disk" in output
    assert "accuracy" in evaluate
    assert use == "MGU [1, 64] name='mgu' activation='tanh'\n"
