"""The main job itself: one epoch of the SRU recipe on all of MNIST."""

import json
import re
import subprocess
import sys

from PIL import Image


def test_one_epoch_of_sru_learns_to_read(digits, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "ostinato"]
    done = subprocess.run(
        [*command, "train", "sru", "--epochs", "1", "--out", str(out)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    score = float(re.search(r"read back from disk: accuracy ([\d.]+)%", done.stdout).group(1))
    assert score > 92  # validation stood at 96.3 and 96.4 after one epoch in two full runs

    names = []
    for number in range(20):
        names.append(str(tmp_path / f"{number}.png"))
        big = Image.fromarray(255 - digits.test.pixels[number].numpy()).resize((280, 280))
        big.save(names[-1])  # another size, dark on light
    done = subprocess.run(
        [*command, "predict", str(out), "--json", *names], capture_output=True, text=True, check=True
    )
    answers = [json.loads(line)["digit"] for line in done.stdout.splitlines()]
    right = sum(a == b for a, b in zip(answers, digits.test.labels[:20].tolist(), strict=True))
    assert right >= 17
