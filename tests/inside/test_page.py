"""The page of what works inside PyTorch names tests that are there."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs/inside-pytorch.md").read_text()


def test_every_line_has_its_test():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    files = [path for path in HERE.glob("test_*.py") if path != Path(__file__)]
    there = {name for path in files for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}
    assert named <= there
    assert len(named) > 40
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and "✓" in line]
    assert len(lines) > 30
    assert all("`test_" in line or "RowError" in line for line in lines)
