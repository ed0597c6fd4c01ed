"""A reproduction on one page: a section a tutorial, published beside ours."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ostinato.lab.report import Chart, Code, Facts, Page, Section, Table, Text
from ostinato.lab.report.parts import Cell, Part
from ostinato.lab.reproduce.description import Reproduction, Trained
from ostinato.lab.reproduce.pictures import accuracies, steps
from ostinato.lab.reproduce.timing import PARTS, Measured
from ostinato.lab.reproduce.tutorials import Published, Tutorial

QUICK = (
    "A quick look: trainings were cut after {steps} steps and timings are short. Nothing here is a "
    "measure of accuracy, and the times are rough."
)

FORMS = {"%": "{:.2%}", "s": "{:.1f} s", "ms": "{:.2f} ms", "×": "{:.2f}×", "steps": "{:,.0f}"}
"""How a figure of each unit is written."""


def page_of(folder: Path) -> Page:
    """The page of the reproduction in a folder, as far as it is."""
    return page(folder, Reproduction.open(folder))


def page(folder: Path, found: Reproduction) -> Page:
    """A section for each tutorial, and how it was made."""
    sections = [Section(_heading(each), [*_parts(each, found, folder)]) for each in found.chosen()]
    how = Section(
        "How it was made",
        [
            Code(command(found)),
            Facts(
                {
                    "data": found.data_folder or "MNIST (bundled)",
                    "threads": found.threads,
                    "seeds": ", ".join(map(str, found.seeds)),
                    "began": found.started,
                    "ended": found.finished,
                },
                "The reproduction.",
            ),
            Facts(found.machine | found.versions, "Machine and versions."),
        ],
    )
    return Page(title(found), lead(found), [*sections, how])


def title(found: Reproduction) -> str:
    return f"The tutorials, again{' (a quick look)' if found.quick else ''}"


def lead(found: Reproduction) -> str:
    if found.quick:
        return QUICK.format(steps=found.effort.steps)
    return (
        "What five tutorials taught with TensorFlow 1, trained and timed again with Ostinato. "
        "Published figures stand beside ours; theirs are of their machines, ours of this one."
    )


def command(found: Reproduction) -> str:
    """What makes it again."""
    every = len(found.tutorials) == len(found.model_copy(update={"tutorials": []}).chosen())
    words = ["ostinato reproduce", *([] if every else found.tutorials)]
    words += ["--quick"] if found.quick else []
    words += [f"--seeds {len(found.seeds)}"] if len(found.seeds) > 1 else []
    return " ".join([*words, f"--threads {found.threads}"])


def beside(tutorial: Tutorial, found: Reproduction) -> Table:
    """Each figure of a tutorial, published and ours."""
    rows = [
        (
            each.what,
            _said(each, each.value),
            _said(each, found.figures.get(each.ours)),
            _range(each, found),
        )
        for each in tutorial.published
    ]
    ours = "ours (quick)" if found.quick else "ours"
    return Table(("figure", "published", ours, "range of ours"), rows, _caption(found))


def _caption(found: Reproduction) -> str:
    if found.quick:
        return (
            f"{QUICK.format(steps=found.effort.steps)} A dash: not published, not found, not measured."
        )
    ranges = "Range: the middle half of single turns"
    ranges += ", or lowest and highest of the seeds." if len(found.seeds) > 1 else "."
    return f"{ranges} A dash: not published, or not found again."


def _heading(tutorial: Tutorial) -> str:
    return f"{tutorial.number}. {tutorial.title}"


def _parts(tutorial: Tutorial, found: Reproduction, folder: Path) -> Iterator[Part]:
    yield Text(tutorial.about, f"Source: {tutorial.source}.")
    yield beside(tutorial, found)
    trained = {name: found.trained[name] for name in tutorial.train if name in found.trained}
    if trained:
        caption = "Accuracy of the training batches over the steps, their mean."
        yield Chart(accuracies(trained, folder), caption)
    if not found.quick:
        figures = _Figures(found.figures)
        yield Text(*(each.format_map(figures) for each in tutorial.answers))
        yield Text(*(f"A conjecture, not measured here: {each}" for each in tutorial.conjectures))
    yield Text(*(f"{_capital(each.what)}: {each.note}." for each in tutorial.published if each.note))
    yield from _logs(trained)
    failed = [f"{name} failed: {found.failed[name]}" for name in tutorial.train if name in found.failed]
    if failed:
        yield Text(*failed)
    for timing in tutorial.timing:
        measured = found.timed.get(timing.name)
        if measured is None:
            continue
        if measured.sides:
            yield Chart(steps(measured), f"{timing.title}: its parts, by turns, in milliseconds.")
        yield _times(timing.title, measured)
    if tutorial.drivers:
        yield from _drivers(tutorial, found)


def _times(caption: str, measured: Measured) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (name, side.ms, "{:.4g} – {:.4g}".format(*side.quartiles), side.seconds_per_500_steps,
         *(side.parts[part] for part in PARTS))
        for name, side in measured.sides.items()
    ]  # fmt: skip
    rows += [(name, None, why, None, *(None for _ in PARTS)) for name, why in measured.why_not.items()]
    columns = ("who", "ms a step", "middle half", "s per 500 steps", *PARTS)
    return Table(columns, rows, f"{caption}: medians of single steps that took turns, in milliseconds.")


def _logs(trained: Mapping[str, Sequence[Trained]]) -> Iterator[Part]:
    """What a tutorial printed every so many steps, of the first seed."""
    for recipe, (run, *_) in trained.items():
        if run.log:
            rows = [
                (step, f"{batch:.2%}", None if test is None else f"{test:.2%}")
                for step, batch, test in run.log
            ]
            yield Table(("step", "batch", "test"), rows, f"{recipe}: accuracy as it was trained.")


def _drivers(tutorial: Tutorial, found: Reproduction) -> Iterator[Part]:
    """What the tutorial could not have: memory, and rows of many lengths."""
    memory = {name: f"{found.memory[name]:.1f} MB" for name in tutorial.train if name in found.memory}
    if memory:
        yield Facts(memory, "Memory of a training step, in a process of its own.")
    if found.ragged:
        yield Facts(
            {case: f"{ratio:.2f}×" for case, ratio in found.ragged.items()},
            "How many times as long a batch takes that is padded, not told its lengths.",
        )


def _range(figure: Published, found: Reproduction) -> str | None:
    spread = found.spread(figure.ours)
    return None if spread is None else " – ".join(FORMS[figure.unit].format(each) for each in spread)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _said(figure: Published, value: float | None) -> str | None:
    return None if value is None else FORMS[figure.unit].format(value)


class _Figures(dict[str, float]):
    """Figures by name; a dash for one that could not be measured."""

    def __missing__(self, name: str) -> "_Dash":
        return _Dash()


class _Dash:
    def __format__(self, form: str) -> str:
        return "–"
