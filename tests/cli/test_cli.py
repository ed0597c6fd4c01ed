"""The command line in this process: what it prints, and how it says no."""

import errno
import json
import os
import re
import sys

import pytest
from PIL import Image

from ostinato import __version__
from ostinato.cli import main
from ostinato.lab.report import KINDS
from ostinato.training import recipe_names


@pytest.fixture(scope="module")
def trained(tiny_recipe, tiny_folder, tmp_path_factory):
    """A finished run, made by the command line, and what it printed."""
    out = tmp_path_factory.mktemp("cli") / "run"
    patch = pytest.MonkeyPatch()
    arguments = ["train", tiny_recipe, "--data", tiny_folder, "--out", out, "--threads", 1]
    patch.setattr(sys, "argv", ["ostinato", *map(str, arguments)])
    with pytest.raises(SystemExit) as leaving:
        main()
    patch.undo()
    assert not leaving.value.code
    return out


@pytest.mark.parametrize(
    "command",
    [
        "",
        "recipes",
        "train",
        "resume",
        "compare",
        "sweep",
        "reproduce",
        "evaluate",
        "predict",
        "report",
    ],
)
def test_help_has_an_example(ostinato, command):
    code, out, _ = ostinato(*command.split(), "--help")
    assert code == 0
    assert f"Example: ostinato {command or 'train'}" in " ".join(out.split())


def test_version(ostinato):
    assert ostinato("--version") == (0, f"ostinato {__version__}\n", "")


def test_recipes_lists_them_all_and_shows_one(ostinato, tmp_path):
    code, out, _ = ostinato("recipes")
    assert code == 0
    for name in recipe_names():
        assert re.search(rf"^{name}\s", out, re.MULTILINE)
    code, out, _ = ostinato("recipes", "sru")
    (tmp_path / "copy.toml").write_text(out)
    assert ostinato("recipes", tmp_path / "copy.toml") == (0, out, "")
    assert "lr = 0.01" in out


def test_lines_in_a_pipe(ostinato, tiny_recipe, tiny_folder, tmp_path):
    code, out, err = ostinato("train", tiny_recipe, "--data", tiny_folder, "--out", tmp_path / "run")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "A small SRU on few digits"
    trained = [
        line
        for line in lines
        if re.fullmatch(
            r"0:00:\d\d  epoch [12]  step [ \d]\d/14  loss \d\.\d{4}  accuracy \d\.\d{4}", line
        )
    ]
    assert len(trained) == 7
    assert sum("validation loss" in line for line in lines) == 4
    assert sum("test loss" in line for line in lines) == 3
    end = out[out.index("The saved model") :]
    assert re.search(r"accuracy \d+\.\d\d% \(\d+ of 100 images\), loss \d", end)
    for name in ("model.safetensors", "curves.png", "metrics.csv", "events"):
        assert str(tmp_path / "run" / name) in end
    assert "\x1b" not in out


def test_an_early_end_is_told(ostinato, tiny_recipe, tiny_folder, tmp_path):
    recipe = tmp_path / "early.toml"
    text = tiny_recipe.read_text()
    recipe.write_text(text.replace("seed = 3", "seed = 3\nuntil_batch_accuracy = 0.01"))
    code, out, _ = ostinato("train", recipe, "--data", tiny_folder, "--out", tmp_path / "run")
    assert code == 0
    told = re.findall(
        r"^Ended after step \d+ of 14: its batch reached .*, above 0.01\.$", out, re.MULTILINE
    )
    assert len(told) == 2  # when it happened, and with the outcome
    assert out.rindex(told[0]) > out.index("validation loss")


def test_options_change_the_recipe(ostinato, tiny_recipe, tiny_folder, tmp_path):
    from ostinato.training import RunFolder

    out = tmp_path / "run"
    code, _, err = ostinato(
        "train", tiny_recipe, "--data", tiny_folder, "--out", out, "--steps", 2, "--seed", 8,
        "--set", "optimizer.lr=0.5", "--set", "model.readout=mean", "--threads", 1,
    )  # fmt: skip
    assert (code, err) == (0, "")
    recipe = RunFolder.open(out).read_recipe()
    assert (recipe.training.steps, recipe.training.epochs, recipe.training.seed) == (2, None, 8)
    assert (recipe.optimizer.lr, recipe.model.readout) == (0.5, "mean")


def test_evaluate(ostinato, trained, tiny_folder):
    code, out, _ = ostinato("evaluate", trained)
    assert code == 0
    assert re.fullmatch(r"accuracy \d+\.\d\d% \(\d+ of 100 images\), loss \d\.\d{4}\n", out)
    code, out, _ = ostinato("evaluate", trained, "--json", "--data", tiny_folder)
    recorded = json.loads((trained / "run.json").read_text())["result"]
    assert json.loads(out)["accuracy"] == recorded["test_accuracy"]


def test_predict(ostinato, trained, digits, tmp_path):
    pictures = []
    for number in range(2):
        pictures.append(tmp_path / f"{number}.png")
        Image.fromarray(digits.test.pixels[number].numpy()).save(pictures[-1])
    code, out, _ = ostinato("predict", trained, *pictures)
    assert code == 0
    blocks = out.split(str(tmp_path))[1:]
    for block in blocks:
        head, *lines = block.strip().splitlines()
        shares = [float(re.match(r"  \d +([\d.]+)%", line).group(1)) for line in lines]
        assert len(shares) == 10
        assert sum(shares) == pytest.approx(100, abs=0.1)
        assert shares[int(head[-1])] == max(shares)
    code, out, _ = ostinato("predict", trained, "--json", *pictures)
    answers = [json.loads(line) for line in out.splitlines()]
    assert [a["image"] for a in answers] == [str(p) for p in pictures]
    assert sum(answers[0]["probabilities"]) == pytest.approx(1)


REFUSED = {
    "no such recipe": (["train", "srru"], 'did you mean "sru"?'),
    "no such key": (["train", "sru", "--set", "optimizer.lrr=1"], 'did you mean "optimizer.lr"?'),
    "bad value": (["train", "sru", "--set", "optimizer.lr=x"], "should be a valid number"),
    "no steps": (["train", "sru", "--steps", "0"], "training.steps = 0"),
    "no data": (["train", "sru", "--data", "nowhere"], "expected a folder with the four IDX files"),
    "no device": (["train", "sru", "--device", "gpu9"], 'Device "gpu9" cannot be used here'),
    "no place": (["train", "sru", "--out", "/proc/ostinato/run"], "a run cannot be written there"),
    "no run": (["evaluate", "nowhere"], "expected the folder of a run, found nothing"),
    "no run to resume": (["resume", "nowhere"], "expected the folder of a run, found nothing"),
    "no run to predict": (["predict", "nowhere", "x.png"], "expected the folder of a run"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_is_one_paragraph_and_exit_code_2(ostinato, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, words = REFUSED[name]
    code, out, err = ostinato(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("ostinato: ")
    assert "\n\n" not in err
    assert "Traceback" not in err
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "recipe.toml"]


USAGE = {
    "no equals sign": (["train", "sru", "--set", "lr"], "expected KEY=VALUE"),
    "two lengths": (["train", "sru", "--steps", "1", "--epochs", "1"], "expected --steps or --epochs"),
    "no such option": (["train", "sru", "--sed", "1"], "--seed"),
    "no such command": (["trian"], "train"),
    "no words": (["train", "sru", "--seed", "x"], "unable to parse string as an integer"),
}


@pytest.mark.parametrize("name", USAGE)
def test_usage(ostinato, name):
    arguments, words = USAGE[name]
    code, _, err = ostinato(*arguments)
    assert code == 2
    assert words in " ".join(err.replace("│", " ").split())


def test_a_picture_that_is_none(ostinato, trained, tmp_path):
    (tmp_path / "letter.png").write_text("Dear Sir")
    code, out, err = ostinato("predict", trained, tmp_path / "letter.png")
    assert (code, out) == (2, "")
    assert "expected a picture" in err


def test_a_full_disk(ostinato, tiny_recipe, tiny_folder, tmp_path, monkeypatch):
    """From the third checkpoint on, nothing more fits."""
    from ostinato import files, training

    real, count = files.write_atomically, 0

    def full(path, content):
        nonlocal count
        count += path.name == "checkpoint.safetensors"
        if count == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, content)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomically", full)
        code, _, err = ostinato("train", tiny_recipe, "--data", tiny_folder, "--out", out)
    assert code == 2
    assert "No space left on device" in err
    assert "make room" in err
    run, _ = training.resume(out)
    assert run.read_record().status == "finished"


def test_report_writes_the_page_and_says_where(ostinato, trained, tmp_path):
    assert (trained / "report.html").is_file(), "training has written one already"
    (trained / "report.html").unlink()
    assert ostinato("report", trained) == (0, f"{trained / 'report.html'}\n", "")
    assert (trained / "report.html").is_file()
    page = tmp_path / "page.html"
    assert ostinato("report", trained, "--out", page) == (0, f"{page}\n", "")
    assert "A small SRU on few digits" in page.read_text(encoding="utf-8")


def test_report_shows_the_page_where_there_is_a_browser(ostinato, trained, monkeypatch):
    shown = []
    monkeypatch.setattr("webbrowser.open", lambda address: shown.append(address) or True)
    assert ostinato("report", trained, "--open")[0] == 0
    assert shown == [(trained / "report.html").resolve().as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    code, _, err = ostinato("report", trained, "--open")
    assert code == 2
    assert err.endswith(
        "is written, but there is no browser here that could show it. Open it with one.\n"
    )


def test_report_of_nothing_known(ostinato, tmp_path):
    code, _, err = ostinato("report", tmp_path)
    assert code == 2
    assert err.startswith(f"ostinato: {tmp_path}: expected one of ")
    assert all(name in err for name in KINDS)
