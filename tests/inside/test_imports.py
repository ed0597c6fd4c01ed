"""Whatever of the library is imported first, it is there."""

import pkgutil
import subprocess
import sys

import ostinato

ONE_BY_ONE = """
import os, sys, torch
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        __import__(name)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
"""
"""Each in a process of its own, that has torch alone."""


def test_any_part_may_be_imported_first():
    names = [each.name for each in pkgutil.iter_modules(ostinato.__path__, "ostinato.")]
    parts = [name for name in names if name not in ("ostinato.__main__", "ostinato._core")]
    assert "ostinato.wrappers" in parts
    done = subprocess.run([sys.executable, "-c", ONE_BY_ONE, *parts], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
