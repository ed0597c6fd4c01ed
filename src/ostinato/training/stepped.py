"""One training, a step at a time: the loop is whoever asks for the next step."""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import torch
from torch import nn
from torch.optim import Optimizer

from ostinato.data import ImageData, Images, load_images
from ostinato.errors import OstinatoError, RunError
from ostinato.models.build import build
from ostinato.models.file import load_model, save_model
from ostinato.models.settings import ImageShape
from ostinato.training.checkpoint import Position, read_checkpoint, write_checkpoint
from ostinato.training.compilation import Compilation
from ostinato.training.curves import draw_curves
from ostinato.training.device import pick_device
from ostinato.training.evaluate import Score, evaluate
from ostinato.training.learning import early_end, learn, make_optimizer
from ostinato.training.metrics import Metrics, read_metrics, step_times
from ostinato.training.observer import Observer, Step
from ostinato.training.order import Order
from ostinato.training.ran_by import ran_by
from ostinato.training.recipe import Recipe
from ostinato.training.run import Record, RunFolder
from ostinato.training.turns import Turns

Loader = Callable[[Path | None, int, int], ImageData]


class Training:
    """A recipe in training, in its run folder, from a first step or from a checkpoint on.

        with Training.new(recipe, out) as training:
            while not training.ended:
                training.advance()
        score = training.finish()

    Within `with` its files are open and its observer hears of it. Several can be advanced by turns in
    one process: each has its own random state, threads and clock, so that none can tell that it is not
    alone. `load` is how data are read; one that remembers lets several share them.
    """

    def __init__(
        self,
        run: RunFolder,
        recipe: Recipe,
        record: Record,
        images: ImageData,
        turns: Turns,
        network: nn.Module,
        optimizer: Optimizer,
        position: Position,
        observer: Observer | None,
    ):
        """`new` and `reopen` make one; the caller's settings stay as they are."""
        self.run = run
        self.recipe = recipe
        self.record = record
        self.network = network
        self.done = position.step
        self._first = position.step + 1
        self._position = position
        self._early = position.ended
        self._images = images
        self._turns = turns
        self._turns.seconds = position.seconds
        self._optimizer = optimizer
        self._device = torch.device(record.device)
        self._observer = observer or Observer()
        self._compilation = Compilation(network, self._observer, position.compile_seconds)
        self._order = Order(len(images.train), recipe.training.batch, recipe.training.seed)

    @classmethod
    def new(
        cls,
        recipe: Recipe,
        out: Path | None = None,
        *,
        data: Path | None = None,
        device: str = "cpu",
        threads: int | None = None,
        observer: Observer | None = None,
        load: Loader = load_images,
    ) -> Self:
        """At its first step, in a new run folder: `out`, or one under `runs/`."""
        images = load(data, recipe.data.train, recipe.data.validation)
        where = pick_device(device)
        run = RunFolder.create(out, recipe)
        threads = threads or torch.get_num_threads()
        turns = Turns(where, threads, recipe.training.seed)
        with turns.turn():
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
        return cls(run, recipe, record, images, turns, network, optimizer, start, observer)

    @classmethod
    def reopen(
        cls, path: Path, *, observer: Observer | None = None, load: Loader = load_images
    ) -> Self:
        """Where a run's last checkpoint has it; raises RunError when there is nothing to go on with."""
        run = RunFolder.open(path)
        run.sweep()
        recipe, record = run.read_recipe(), run.read_record()
        if record.status == "finished":
            raise RunError(
                f"{path}: this run is finished; nothing is left to resume. Test it: ostinato evaluate "
                f"{path}"
            )
        folder = None if record.data_folder is None else Path(record.data_folder)
        images = load(folder, recipe.data.train, recipe.data.validation)
        if images.fingerprint != record.data_fingerprint:
            raise RunError(
                f"{path}: the data in {images.source} are not those that the run began with. Put them "
                "back, or train anew."
            )
        where = pick_device(record.device)
        turns = Turns(where, record.threads, recipe.training.seed)
        with turns.turn():
            network = build(recipe.model, _shape(images)).to(where)
            optimizer = make_optimizer(recipe.optimizer, network)
            position = read_checkpoint(run.checkpoint, network, optimizer)
        return cls(run, recipe, record, images, turns, network, optimizer, position, observer)

    def __enter__(self) -> Self:
        self.network.train()
        with ExitStack() as stack:
            self._observer.begin(self.recipe.title, self.done, self.record.steps)
            stack.callback(self._observer.end)
            self._metrics = stack.enter_context(Metrics(self.run.metrics, self.run.events, self.done))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def ended(self) -> bool:
        """No step is left to take."""
        return self.done == self.record.steps or self._early is not None

    def advance(self) -> None:
        """Takes one step; scores, saves and tells what is due after it.

        Raises OstinatoError when the loss is no number any more.
        """
        with self._turns.turn():
            step = self._learn(self.done + 1)
            self.done, total, log = step.step, self.record.steps, self.recipe.log
            self._early = early_end(self.recipe, step, total)
            row = asdict(step)
            if _due(self.done, log.validate_) or self._order.ends_epoch(self.done) or self.ended:
                row |= self._scored(self._images.validation, "validation", step)
            if _due(self.done, log.test) and not self.ended:
                row |= self._scored(self._images.test, "test", step)
            self._metrics.add(row)
            self._observer.step(step, line=_due(self.done, log.line))
            if self._early is not None:
                self._observer.note(self._early)
            if _due(self.done, log.checkpoint) or self.ended:
                self._save()

    def save(self) -> None:
        """All that is needed to go on from here is on the disk when this returns."""
        if self._position.step != self.done:
            with self._turns.turn():
                self._save()

    def finish(self) -> Score:
        """Saves the model, tests what is on the disk (not what is in memory), completes the record."""
        run, recipe, images = self.run, self.recipe, self._images
        with self._turns.turn():
            save_model(run.model, self.network, recipe.model, _shape(images), recipe.name)
            score = evaluate(load_model(run.model).network.to(self._device), images.test, self._device)
            rows = read_metrics(run.metrics)
            draw_curves(rows, recipe.title, score.accuracy, run.curves)
            compilation, compiled = self._compilation, self._position.compile_seconds
            run.write_record(
                replace(
                    self.record,
                    status="finished",
                    finished=datetime.now(UTC).isoformat(timespec="seconds"),
                    seconds=round(self._position.seconds, 3),
                    ended=self._early,
                    ran_by=ran_by(self.network, self._device),
                    compile_seconds=round(compiled, 3) if compilation.expected else None,
                    uncompiled=compilation.why_not,
                    step_ms=step_times(rows),
                    result={"test_accuracy": score.accuracy, "test_loss": score.loss},
                )
            )
        return score

    def _learn(self, number: int) -> Step:
        if number == self._first:
            self._compilation.announce()
        started = time.perf_counter()
        x, labels = self._images.train.batch(self._order.batch(number), self._device)
        clip = self.recipe.training.clip_norm
        loss, accuracy = learn(self.network, self._optimizer, x, labels, clip)
        step = Step(
            step=number,
            epoch=self._order.epoch(number),
            seconds=self._turns.seconds,
            step_ms=(time.perf_counter() - started) * 1e3,
            loss=loss,
            accuracy=accuracy,
        )
        if not math.isfinite(loss):
            raise OstinatoError(
                f"{self.run.path}: the loss is {loss} at step {number}; the weights are beyond "
                "repair. Train with a lower --set optimizer.lr, or a --set training.clip_norm."
            )
        self._compilation.tell()
        return step

    def _scored(self, images: Images, name: str, step: Step) -> dict[str, float]:
        """The columns of a score in between, which the observer hears of too."""
        if not len(images):
            return {}
        score = evaluate(self.network, images, self._device)
        self._observer.scored(step, name, score.loss, score.accuracy)
        return {f"{name}_loss": score.loss, f"{name}_accuracy": score.accuracy}

    def _save(self) -> None:
        self._metrics.flush()
        seconds, compiled = self._turns.seconds, self._compilation.seconds
        self._position = Position(self.done, seconds, compiled, self._early)
        write_checkpoint(self.run.checkpoint, self.network, self._optimizer, self._position)


def _shape(images: ImageData) -> ImageShape:
    rows, columns = images.size
    return ImageShape(rows=rows, columns=columns, classes=images.classes)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
