"""The command line, in this process."""

import sys

import pytest

from ostinato.cli import main


@pytest.fixture
def ostinato(monkeypatch, capsys):
    """Runs the command with arguments; gives its exit code, output and errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ostinato", *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            main()
        out, err = capsys.readouterr()
        return leaving.value.code or 0, out, err

    return run
