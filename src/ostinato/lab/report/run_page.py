"""The page of a run: what came out, how it got there, where it errs, how it reads."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import torch

from ostinato.data import ImageData, load_images
from ostinato.errors import DataError, RunError
from ostinato.lab.report.answers import Answers, Confusion, Mistakes, ask, by_class
from ostinato.lab.report.chart import Chart
from ostinato.lab.report.page import Page, Section
from ostinato.lab.report.parts import Cell, Code, Facts, Text
from ostinato.lab.report.reading import reading
from ostinato.models import SequenceClassifier
from ostinato.models.file import SavedModel
from ostinato.models.settings import CNNSettings, RecurrentSettings
from ostinato.training.curves import plot_accuracy, plot_loss, plot_step_times
from ostinato.training.metrics import read_metrics
from ostinato.training.recipe import Recipe
from ostinato.training.run import Record, RunFolder
from ostinato.training.use import trained_model


@dataclass(frozen=True)
class _Run:
    """A finished run, as it was read."""

    folder: RunFolder
    recipe: Recipe
    record: Record
    model: SavedModel
    metrics: list[dict[str, str]]
    result: dict[str, float]
    step_ms: dict[str, float]


def run_page(path: Path) -> Page:
    """The page of a finished run; without the parts that need its data where those are gone.

    Raises RunError for a folder that is no run, has no model yet or is damaged, and ModelFileError for
    a damaged model.
    """
    folder = RunFolder.open(path)
    recipe, record = folder.read_recipe(), folder.read_record()
    with torch.random.fork_rng(devices=[]):  # a network is drawn before its weights are read
        model = trained_model(folder)
    if record.result is None or record.step_ms is None:
        raise RunError(
            f"{path}: this training has a model, but its test has not ended. Go on with: ostinato "
            f"resume {path}"
        )
    run = _Run(folder, recipe, record, model, _metrics(folder), record.result, record.step_ms)
    sections = [_result(run), _curves(run)]
    images = _images(run)
    if isinstance(images, str):
        sections.append(Section("Where it errs", [Text(images)]))
    else:
        answers = ask(run.model.network, images.test)
        sections.append(_mistakes(answers))
        if isinstance(run.model.network, SequenceClassifier):
            sections.append(_reading(run.model.network, answers))
    sections += [_settings(run), _machine(run), _again(run)]
    return Page(run.recipe.title, _lead(run), sections)


def _metrics(folder: RunFolder) -> list[dict[str, str]]:
    """A row for each step; raises RunError where the file is gone or holds something else."""
    try:
        rows = read_metrics(folder.metrics)
        numbers = [(float(row["loss"]), float(row["accuracy"]), float(row["step_ms"])) for row in rows]
        if numbers:
            return rows
        found = "none"
    except (ValueError, KeyError) as error:
        found = f"something else ({error})"
    raise RunError(
        f"{folder.metrics}: expected a row of numbers for each step of the run, found {found}. Put the "
        "file back, or train again."
    )


def _lead(run: _Run) -> str:
    seconds = f" in {_duration(run.record.seconds)}" if run.record.seconds else ""
    return (
        f"{run.result['test_accuracy']:.2%} of the test images are classified right, after "
        f"{int(run.metrics[-1]['step']):,} steps{seconds}."
    )


def _result(run: _Run) -> Section:
    record, model, training = run.record, run.recipe.model, run.recipe.training
    optimizer = run.recipe.optimizer
    said = [text for text in (record.ended, record.uncompiled) if text]
    outcome: dict[str, Cell] = {
        "Test accuracy": f"{run.result['test_accuracy']:.2%}",
        "Test loss": f"{run.result['test_loss']:.4f}",
        "Steps": int(run.metrics[-1]["step"]),
        "Time": None if record.seconds is None else _duration(record.seconds),
    }
    what: dict[str, Cell] = {
        "Model": "CNN" if isinstance(model, CNNSettings) else _in_words(model),
        "Parameters": record.parameters,
        "Optimiser": f"{optimizer.name}, {optimizer.lr:g}, batches of {training.batch}",
        "Seed": str(training.seed),
    }
    return Section(
        "Result",
        [
            *([Text(*said)] if said else []),
            Facts(outcome, "What it came to"),
            Facts(what, "What was trained"),
        ],
    )


def _in_words(model: RecurrentSettings) -> str:
    directions = ", both directions" if model.bidirectional else ""
    layers = "1 layer" if model.layers == 1 else f"{model.layers} layers"
    return f"{model.cell.name}, {layers} of {model.hidden}{directions}"


def _curves(run: _Run) -> Section:
    # Imported here: it takes half a second that `ostinato --help` need not wait for.
    from matplotlib.figure import Figure

    loss, accuracy, times = (Figure(figsize=(5.6, 3.4), layout="constrained") for _ in range(3))
    plot_loss(loss.subplots(), run.metrics)
    plot_accuracy(accuracy.subplots(), run.metrics, run.result["test_accuracy"])
    plot_step_times(times.subplots(), run.metrics)
    return Section(
        "Over the steps",
        [
            Chart(loss, "Loss: each batch faint, their running mean, the validation images as points."),
            Chart(accuracy, "Accuracy, in the same way; dotted, what the test came to."),
            Chart(times, "Time of each step, without validation and checkpoints."),
            Facts(_speed(run), "How long a step took"),
        ],
    )


def _speed(run: _Run) -> dict[str, Cell]:
    record, times = run.record, run.step_ms
    speed: dict[str, Cell] = {
        "Median": f"{times['median']:.2f} ms",
        "Quartiles": f"{times['quartile_1']:.2f} to {times['quartile_3']:.2f} ms",
        "500 steps": f"{times['seconds_per_500_steps']:.2f} s",
    }
    if record.compile_seconds is not None:
        speed["Compiling, once"] = _duration(record.compile_seconds)
    return speed | {"Threads": record.threads, "Device": record.device}


def _images(run: _Run) -> ImageData | str:
    """The run's data; or, where they are gone or are others now, a sentence that says so."""
    record, wanted = run.record, run.recipe.data
    folder = None if record.data_folder is None else Path(record.data_folder)
    without = "What it got wrong cannot be shown: "
    try:
        images = load_images(folder, wanted.train, wanted.validation)
    except DataError as error:
        return f"{without}the run's data can no longer be read. {error}"
    if images.fingerprint != record.data_fingerprint:
        return f"{without}the images in {images.source} are no longer those that the run was tested on."
    return images


def _mistakes(answers: Answers) -> Section:
    return Section(
        "Where it errs",
        [
            Confusion(answers.counts, "A row for each digit, a column for what it was taken for."),
            by_class(answers),
            Mistakes.surest(answers),
        ],
    )


def _reading(network: SequenceClassifier, answers: Answers) -> Section:
    shown = reading(network, answers)
    words = [
        "What each layer holds while it reads. Every heat map has a row for each row of the picture, "
        "a column for each unit; the units of a layer stand in one order, by what they hold on "
        "average. A gate is open where its map is full and shut where it is empty; a state is orange "
        "above zero, blue below. The probabilities are what the network says if the picture ends at "
        "that row."
    ]
    if shown.both_directions:
        words.append(
            "A layer that reads from the end comes to a row after all those below it: its maps, and "
            "those of the layers after it, are of the whole picture."
        )
    return Section("A digit, read row by row", [Text(*words), shown])


def _settings(run: _Run) -> Section:
    document = run.recipe.model_dump(by_alias=True, exclude_none=True)
    tables = {name: value for name, value in document.items() if isinstance(value, dict)}
    head = {name: value for name, value in document.items() if name not in tables}
    facts = [Facts(head, "recipe")]
    for name, table in tables.items():
        inner = {key: value for key, value in table.items() if isinstance(value, dict)}
        own = {key: _shown(value) for key, value in table.items() if key not in inner}
        facts.append(Facts(own, name))
        facts += [
            Facts({k: _shown(v) for k, v in each.items()}, f"{name}.{key}")
            for key, each in inner.items()
        ]
    return Section("Settings", [*facts, Code(run.recipe.to_toml(), "The same as a recipe file", True)])


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _machine(run: _Run) -> Section:
    record = run.record
    when = {"started": _clock(record.started), "finished": _clock(record.finished)}
    where = {**record.machine, **when}
    data = {"data": record.data, "fingerprint": record.data_fingerprint}
    return Section(
        "Machine and versions",
        [Facts(where, "Where and when"), Facts({**record.versions, **data}, "With what")],
    )


def _again(run: _Run) -> Section:
    record = run.record
    command = ["ostinato", "train", str(run.folder.path / "recipe.toml")]
    if record.data_folder is not None:
        command += ["--data", record.data_folder]
    command += ["--threads", str(record.threads)]
    if record.device != "cpu":
        command += ["--device", record.device]
    return Section("Make it again", [Code(shlex.join(command))])


def _clock(moment: str | None) -> str | None:
    return moment and moment.replace("T", " ").replace("+00:00", " UTC")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    if hours:
        said = f"{hours} h {minutes} min"
    else:
        said = f"{minutes} min {rest:.0f} s" if minutes else f"{rest:.1f} s"
    return said.replace(" ", "\N{NO-BREAK SPACE}")
