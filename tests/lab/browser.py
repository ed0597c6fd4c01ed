"""A browser for the tests that look at pages: which one, and where it comes from.

`python -m tests.lab.browser` brings one where there is none.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

WHAT_TO_DO = (
    "no browser to look at pages with: run `python -m playwright install --with-deps chromium`, or "
    "install chromium as your system does (Debian: apt-get install chromium)"
)


def find() -> str | None:
    """One of the system's, else playwright's own; None where neither starts."""
    installed = filter(None, map(shutil.which, NAMES))
    return next((each for each in (*installed, _playwrights_own()) if _starts(each)), None)


def bring() -> str | None:
    """What `find` finds, after trying to install one where it finds none."""
    ways = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if shutil.which("apt-get") and os.geteuid() == 0:
        ways += [["apt-get", "update", "-q"], ["apt-get", "install", "-q", "-y", "chromium"]]
    for way in ways:
        if (found := find()) is not None:
            return found
        subprocess.run(way, check=False)
    return find()


def _playwrights_own() -> str:
    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def _starts(path: str) -> bool:
    if not Path(path).exists():
        return False
    # It does not where a library is missing that playwright's download does not bring.
    return subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    print(f"pages are looked at with {bring() or f'nothing: {WHAT_TO_DO}'}")
