"""The training loop, from a recipe to a tested model, and from a checkpoint on."""

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam, Optimizer

from ostinato.data import ImageData, Images, load_images
from ostinato.drivers import Static
from ostinato.errors import Interrupted, OstinatoError, RunError
from ostinato.models.build import build
from ostinato.models.file import load_model, save_model
from ostinato.models.settings import ImageShape
from ostinato.training.checkpoint import Position, read_checkpoint, write_checkpoint
from ostinato.training.curves import draw_curves
from ostinato.training.device import pick_device
from ostinato.training.evaluate import Score, evaluate
from ostinato.training.interrupt import stop_requests
from ostinato.training.metrics import Metrics, read_metrics
from ostinato.training.observer import Observer, Step
from ostinato.training.order import Order
from ostinato.training.recipe import AdamSettings, Recipe, SGDSettings
from ostinato.training.run import Record, RunFolder


def train(
    recipe: Recipe,
    out: Path | None = None,
    *,
    data: Path | None = None,
    device: str = "cpu",
    threads: int | None = None,
    observer: Observer | None = None,
) -> tuple[RunFolder, Score]:
    """Trains a recipe, saves the model, loads it from disk and scores it on the test images.

    Everything goes into a run folder: `out`, or a new one under `runs/`. `data` is a folder of IDX
    files, the bundled MNIST if None. The caller's random state and thread count are left as they were.
    Raises an OstinatoError for what a person can mend; Interrupted after Ctrl-C, with all saved.
    """
    images = load_images(data, recipe.data.train, recipe.data.validation)
    run = RunFolder.create(out, recipe)
    threads = threads or torch.get_num_threads()
    with _settings_of_the_run(device, threads) as where:
        torch.manual_seed(recipe.training.seed)
        network = build(recipe.model, _shape(images)).to(where)
        optimizer = make_optimizer(recipe.optimizer, network)
        record = Record(
            data=images.source,
            data_folder=None if data is None else str(data.resolve()),
            data_fingerprint=images.fingerprint,
            threads=threads,
            device=device,
            steps=recipe.training.total_steps(len(images.train)),
            parameters=sum(p.numel() for p in network.parameters()),
        )
        start = Position(0, 0.0)
        write_checkpoint(run.checkpoint, network, optimizer, start)
        run.write_record(record)
        return run, _go_on(run, recipe, record, images, network, optimizer, start, observer)


def resume(path: Path, *, observer: Observer | None = None) -> tuple[RunFolder, Score]:
    """Goes on from a run's last checkpoint: the result equals that of a training never interrupted.

    Bit for bit so on the same machine with the same versions; threads and device are those of the run.
    Raises RunError when the run is finished, damaged, or its data are no longer the same.
    """
    run = RunFolder.open(path)
    run.sweep()
    recipe, record = run.read_recipe(), run.read_record()
    if record.status == "finished":
        raise RunError(
            f"{path}: this run is finished; nothing is left to resume. Test it: ostinato evaluate "
            f"{path}"
        )
    folder = None if record.data_folder is None else Path(record.data_folder)
    images = load_images(folder, recipe.data.train, recipe.data.validation)
    if images.fingerprint != record.data_fingerprint:
        raise RunError(
            f"{path}: the data in {images.source} are not those that the run began with. Put them "
            "back, or train anew."
        )
    with _settings_of_the_run(record.device, record.threads) as where:
        network = build(recipe.model, _shape(images)).to(where)
        optimizer = make_optimizer(recipe.optimizer, network)
        position = read_checkpoint(run.checkpoint, network, optimizer)
        return run, _go_on(run, recipe, record, images, network, optimizer, position, observer)


def make_optimizer(settings: AdamSettings | SGDSettings, network: nn.Module) -> Optimizer:
    """Torch's optimiser in its fused form: one pass over all weights."""
    weights = network.parameters()
    if isinstance(settings, AdamSettings):
        first, second = settings.betas
        return Adam(weights, settings.lr, (first, second), settings.eps, fused=True)
    return SGD(weights, settings.lr, settings.momentum, fused=True)


def _go_on(
    run: RunFolder,
    recipe: Recipe,
    record: Record,
    images: ImageData,
    network: nn.Module,
    optimizer: Optimizer,
    position: Position,
    observer: Observer | None,
) -> Score:
    """The loop itself, then the test of the saved model."""
    observer = observer or Observer()
    device = torch.device(record.device)
    order = Order(len(images.train), recipe.training.batch, recipe.training.seed)
    log, total, done = recipe.log, record.steps, position.step
    began = time.perf_counter() - position.seconds
    compiled_before = position.compile_seconds

    network.train()
    observer.begin(recipe.title, done, total)
    try:
        with Metrics(run.metrics, run.events, done) as metrics, stop_requests() as stop:
            watch = _Compilation(network, observer)
            for number in range(done + 1, (done if position.ended else total) + 1):
                if number == done + 1:
                    watch.announce()
                started = time.perf_counter()
                x, labels = images.train.batch(order.batch(number), device)
                loss, accuracy = _learn(network, optimizer, x, labels, recipe.training.clip_norm)
                now = time.perf_counter()
                step = Step(
                    step=number,
                    epoch=order.epoch(number),
                    seconds=now - began,
                    step_ms=(now - started) * 1e3,
                    loss=loss,
                    accuracy=accuracy,
                )
                if not math.isfinite(loss):
                    raise OstinatoError(
                        f"{run.path}: the loss is {loss} at step {number}; the weights are beyond "
                        "repair. Train with a lower --set optimizer.lr, or a --set training.clip_norm."
                    )
                watch.tell()
                ended = _early_end(recipe, step, total)
                row, last = asdict(step), number == total or ended is not None
                if _due(number, log.validate_) or order.ends_epoch(number) or last:
                    row |= _scored(network, images.validation, device, "validation", step, observer)
                if _due(number, log.test) and not last:
                    row |= _scored(network, images.test, device, "test", step, observer)
                metrics.add(row)
                observer.step(step, line=_due(number, log.line))
                if ended is not None:
                    observer.note(ended)
                if _due(number, log.checkpoint) or last or stop.came:
                    metrics.flush()
                    seconds = time.perf_counter() - began
                    position = Position(number, seconds, compiled_before + watch.seconds, ended)
                    write_checkpoint(run.checkpoint, network, optimizer, position)
                if last:
                    break
                if stop.came:
                    raise Interrupted(
                        f"Stopped after step {number} of {total}; everything is saved. Go on with: "
                        f"ostinato resume {run.path}"
                    )
    finally:
        observer.end()
    return _finish(run, recipe, record, images, network, position)


def _learn(
    network: nn.Module, optimizer: Optimizer, x: Tensor, labels: Tensor, clip_norm: float
) -> tuple[float, float]:
    """One step of learning; the loss and accuracy before it."""
    logits = network(x)
    loss = cross_entropy(logits, labels)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if clip_norm:
        clip_grad_norm_(network.parameters(), clip_norm)
    optimizer.step()
    # Divided here: in single precision 3 of 10 would be above 0.3.
    return loss.item(), int((logits.argmax(-1) == labels).sum()) / len(labels)


def _early_end(recipe: Recipe, step: Step, total: int) -> str | None:
    """Why this step is the last although more were allowed; None when it is not."""
    wanted = recipe.training.until_batch_accuracy
    if wanted is None or step.accuracy <= wanted or step.step == total:
        return None
    return (
        f"Ended after step {step.step} of {total}: its batch reached an accuracy of "
        f"{step.accuracy:.4f}, above {wanted}."
    )


class _Compilation:
    """What a network's static parts spend on compiling, told to the observer when it has grown."""

    def __init__(self, network: nn.Module, observer: Observer):
        self._parts = [part for part in network.modules() if isinstance(part, Static)]
        self._observer = observer
        self._told = 0.0

    def announce(self) -> None:
        if self._parts:
            self._observer.note("The first step compiles the unrolled loop; that may take minutes.")

    @property
    def seconds(self) -> float:
        return sum(part.compile_seconds for part in self._parts)

    def tell(self) -> None:
        if self.seconds > self._told:
            self._observer.note(f"Compiled in {self.seconds - self._told:.1f} s.")
            self._told = self.seconds


def _scored(
    network: nn.Module,
    images: Images,
    device: torch.device,
    name: str,
    step: Step,
    observer: Observer,
) -> dict[str, float]:
    """The columns of a score in between, which the observer hears of too."""
    if not len(images):
        return {}
    score = evaluate(network, images, device)
    observer.scored(step, name, score.loss, score.accuracy)
    return {f"{name}_loss": score.loss, f"{name}_accuracy": score.accuracy}


def _finish(
    run: RunFolder,
    recipe: Recipe,
    record: Record,
    images: ImageData,
    network: nn.Module,
    position: Position,
) -> Score:
    """Saves the model, tests what is on the disk (not what is in memory), completes the record."""
    save_model(run.model, network, recipe.model, _shape(images), recipe.name)
    device = torch.device(record.device)
    score = evaluate(load_model(run.model).network.to(device), images.test, device)
    static = [part for part in network.modules() if isinstance(part, Static)]
    rows = read_metrics(run.metrics)
    draw_curves(rows, recipe.title, score.accuracy, run.curves)
    run.write_record(
        replace(
            record,
            status="finished",
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(position.seconds, 3),
            ended=position.ended,
            compile_seconds=round(position.compile_seconds, 3) if static else None,
            uncompiled=next((part.reason for part in static if part.reason), None),
            step_ms=_step_times([float(row["step_ms"]) for row in rows]),
            result={"test_accuracy": score.accuracy, "test_loss": score.loss},
        )
    )
    return score


def _step_times(milliseconds: list[float]) -> dict[str, float]:
    """Median and quartiles, and what the second tutorial counts: seconds per 500 steps."""
    low, median, high = (
        statistics.quantiles(milliseconds, n=4) if len(milliseconds) > 1 else milliseconds * 3
    )
    times = {"quartile_1": low, "median": median, "quartile_3": high}
    times["seconds_per_500_steps"] = median / 2
    return {name: round(value, 3) for name, value in times.items()}


@contextmanager
def _settings_of_the_run(device: str, threads: int) -> Iterator[torch.device]:
    """The run's device and threads, and a random state of its own; the caller's come back after it."""
    where = pick_device(device)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng([where] if where.type == "cuda" else []):
            yield where
    finally:
        torch.set_num_threads(before)


def _shape(images: ImageData) -> ImageShape:
    rows, columns = images.size
    return ImageShape(rows=rows, columns=columns, classes=images.classes)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
