"""A cell as a layer: its step, walked over whole sequences."""

from functools import partial
from typing import Literal, overload

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.drivers import program, reference
from ostinato.drivers.hooks import before_a_walk
from ostinato.drivers.sequence import check_packed, check_sequence
from ostinato.errors import OptionError
from ostinato.kernels.dispatch import RowName, check_row, choose_row, exporting
from ostinato.packed import packed_like, padded, with_data
from ostinato.programs.compiled import Call

Recompute = int | Literal["sqrt"] | None


class Recurrent(nn.Module):
    """Runs one cell over a sequence, forwards or (`reverse=True`) from each row's end.

    `layer(x [B, T, I], state=None, lengths=None, resets=None) → (outputs [B, T, H], state)`:
    `state` starts the walk, the cell's initial state if none is given; a chunk continues where the
    last one ended if its state is handed on.
    `lengths [B]`: outputs past a row's length are zero, its state stays at its last valid step, and
    what stands in the padding, NaN included, changes nothing.
    x may be a PackedSequence, which has its lengths; the outputs are one too, and nothing is padded
    (but with `resets`, within a compiled graph, and on the reference row).
    `resets [B, T]`: where True, a row's state is put back to the cell's initial state before that step.

    `row` says who runs it (`ostinato.explain` says who would): "auto" takes the first that can.
    `recompute` says how the past is kept for the backward pass: None keeps what it needs of every step;
    a number of chunks keeps the state between them alone and walks each chunk twice; "sqrt" takes √T
    chunks.

    Raises ShapeError, DtypeError, DeviceError, StateError and LengthsError for what does not fit,
    RowError for a `row` that cannot run the call, StepError for a cell whose step is none.

    Differs from torch in: torch.nn.LSTM has no resets, no reverse, no recomputation, and takes ragged
    batches as PackedSequence alone.
    """

    def __init__(
        self,
        cell: Cell,
        reverse: bool = False,
        *,
        row: RowName = "auto",
        recompute: Recompute = None,
    ):
        super().__init__()
        check_row(row)
        if not (recompute in (None, "sqrt") or (type(recompute) is int and recompute >= 1)):
            raise OptionError(
                'Recurrent: expected recompute to be None, "sqrt" or a number of chunks of at least '
                f"1, got {recompute!r}."
            )
        self.cell = cell
        self.reverse = reverse
        self.row = row
        self.recompute = recompute

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    @overload
    def forward(
        self,
        x: Tensor,
        state: CellState | None = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, CellState]: ...

    @overload
    def forward(
        self, x: PackedSequence, state: CellState | None = None, *, resets: Tensor | None = None
    ) -> tuple[PackedSequence, CellState]: ...

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: CellState | None = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, CellState]:
        if isinstance(x, PackedSequence):
            check_packed(self.cell, x, state, lengths, resets)
        else:
            check_sequence(self.cell, x, state, lengths, resets)
        before_a_walk(self.cell, x, state)
        if state is None:
            self.cell.begin()
        if torch.compiler.is_compiling():
            return self._run(x, state, lengths, resets)
        with Call(self.cell):
            return self._run(x, state, lengths, resets)

    def _run(
        self,
        x: Tensor | PackedSequence,
        state: CellState | None,
        lengths: Tensor | None,
        resets: Tensor | None,
    ) -> tuple[Tensor | PackedSequence, CellState]:
        if isinstance(x, PackedSequence):
            return self._run_packed(x, state, resets)
        return self._run_padded(x, state, lengths, resets)

    def _run_padded(
        self, x: Tensor, state: CellState | None, lengths: Tensor | None, resets: Tensor | None
    ) -> tuple[Tensor, CellState]:
        row, _ = choose_row(self.cell, x, self.row)
        run = reference.run if row.name == "reference" else partial(program.run, row=row.name)
        return run(
            self.cell,
            x,
            state,
            lengths=lengths,
            resets=resets,
            reverse=self.reverse,
            chunks=self.chunks(x.shape[1]),
        )

    def _run_packed(
        self, packed: PackedSequence, state: CellState | None, resets: Tensor | None
    ) -> tuple[PackedSequence, CellState]:
        row, _ = choose_row(self.cell, packed.data, self.row)
        if row.name == "reference" or resets is not None or torch.compiler.is_compiling():
            x, lengths = padded(packed)
            outputs, last = self._run_padded(x, state, lengths, resets)
            return packed_like(packed, outputs), last
        chunks = self.chunks(len(packed.batch_sizes))
        outputs, last = program.run_packed(
            self.cell, packed, state, reverse=self.reverse, chunks=chunks, row=row.name
        )
        return with_data(packed, outputs), last

    def chunks(self, time: int) -> int:
        """Into how many chunks `recompute` cuts so many steps."""
        # What is exported runs forwards alone.
        wish = None if exporting() else self.recompute
        return 1 if wish is None else max(1, round(time**0.5)) if wish == "sqrt" else int(wish)

    def extra_repr(self) -> str:
        said = ["reverse=True"] if self.reverse else []
        said += [f"row={self.row!r}"] if self.row != "auto" else []
        said += [f"recompute={self.recompute!r}"] if self.recompute is not None else []
        return ", ".join(said)
