"""Any number of layers of one cell, in one direction or both, in the form of torch.nn.LSTM."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import dropout as dropped
from torch.nn.utils.rnn import PackedSequence

from ostinato.cells import Cell
from ostinato.cells.cell import CellState
from ostinato.drivers import Recurrent
from ostinato.drivers.recurrent import Recompute
from ostinato.errors import OptionError, ShapeError
from ostinato.kernels import RowName
from ostinato.nn.checks import check_arguments, check_cell, check_options
from ostinato.nn.lending import lent
from ostinato.nn.sequences import Lengths, sequences
from ostinato.nn.stacked import stacked, unstacked
from ostinato.packed import with_data
from ostinato.wrappers import Bidirectional, BothStates


class _Place(NamedTuple):
    """One cell: which, and what the weights that this module holds for it are called."""

    cell: Cell
    """whose own weights are on the meta device: it is lent others at each call"""
    within: str
    """its name in the layer"""
    names: dict[str, str]
    """of the weights held, without suffix and with it"""


class _Layer(NamedTuple):
    """One layer, in one direction or both."""

    it: Recurrent | Bidirectional
    places: tuple[_Place, ...]


class RecurrentLayers(nn.Module):
    """Layers of one cell in torch.nn's form; a subclass says of which: `cell_type`, a class of cells or
    a function `(input_size, hidden_size, …) → cell`.

    `layer(input, hx=None, *, lengths=None, resets=None) → (output, state)`:
    `input` is `[T, B, I]`, `[B, T, I]` with batch_first, `[T, I]` for one sequence alone, or a
    PackedSequence; `output` has its form, `D·H` wide, D being 2 if bidirectional and 1 else.
    `hx`, and the state returned, is of each field of the cell's state a tensor `[L·D, B, H]`, layers
    and directions first: one such tensor, or a tuple of them (see `nn.stacked`).
    `lengths [B]`: outputs past a row's length are zero, its state stays at its last valid step, and
    the padding changes nothing; a PackedSequence has them already.
    `resets`, shaped as input but for its last axis: where True, a row's state is put back to the
    initial state before that step.

    Options: `num_layers` (L), each layer reading the outputs of the one below; `dropout`, the share
    dropped from these, a new mask each step; `bidirectional`; `batch_first`; `device`, `dtype`; and
    `learn_initial_state`: weights `h_0_l0`, …, zeros at first, from which a row without hx starts and
    to which resets return. `row` and `recompute` are those of `drivers.Recurrent`, all others those of
    the cell.

    Weights have the cell's names with torch's suffixes: `W_l0`, `W_l0_reverse`, `W_l1`, …. They may be
    replaced, parametrised, tied or frozen as those of any module.

    Raises OptionError, KindError, ShapeError, StateError, LengthsError, DtypeError or DeviceError, most
    of them a ValueError and a RuntimeError too, for what torch.nn refuses and for what does not fit.

    Differs from torch in: lengths, resets and step; T = 0 is a sequence as any other.
    """

    cell_type: ClassVar[Callable[..., Cell]]
    usual: ClassVar[Mapping[str, Any]] = {}
    """Options of the cell that are otherwise here unless given."""
    called: ClassVar[Mapping[str, str]] = {}
    """Options of the cell that have another name here."""
    shown: ClassVar[Mapping[str, Any]] = {
        "num_layers": 1,
        "bias": True,
        "batch_first": False,
        "dropout": 0.0,
        "bidirectional": False,
        "learn_initial_state": False,
        "row": "auto",
        "recompute": None,
    }
    """Attributes that are printed where they are not this."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        learn_initial_state: bool = False,
        row: RowName = "auto",
        recompute: Recompute = None,
        **options: Any,
    ):
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout = dropout
        self.learn_initial_state = learn_initial_state
        self._row, self._recompute = row, recompute
        self.options = options
        self._check()
        # In tuples, where nn.Module looks for no parts: the weights are this module's own.
        self._layers: tuple[_Layer, ...] = ()
        width = input_size
        for k in range(num_layers):
            self._layers += (self._layer(width, k, device, dtype),)
            width = self.output_size
        self.reset_parameters()

    # What a subclass may put in the place of the cell's own.

    def cell_options(self) -> dict[str, Any]:
        """With which the cell is made."""
        return {**self.usual, **self.options}

    def held(self, cell: Cell) -> dict[str, tuple[int, ...]]:
        """The weights that this module holds for a cell, without suffix, and their shapes."""
        if not self.bias:
            raise OptionError(f"{self._name}: its cell has biases of its own, so bias=False cannot be.")
        return {name: tuple(each.shape) for name, each in cell.named_parameters()}

    def weights(self, cell: Cell, held: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The cell's own weights, computed from those held."""
        return held

    def reset_parameters(self) -> None:
        """Draws the weights anew, as the cell does."""
        for place in self._places():
            cell = lent(place.cell, self._weights(place))
            cell.reset_parameters()
            for field in cell.State._fields if self.learn_initial_state else ():  # type: ignore[attr-defined]
                nn.init.zeros_(getattr(cell, f"{field}_0"))

    def forward(
        self,
        input: Tensor | PackedSequence,  # noqa: A002
        hx: Any = None,
        *,
        lengths: Lengths | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Any, Any]:
        x, batch, lengths, resets, alone, restored = sequences(
            self._name, input, self.input_size, self.batch_first, lengths, resets
        )
        states = self._states(hx, batch, alone)
        last: list[CellState] = []
        for number, layer in enumerate(self._layers):
            own = states[len(last) : len(last) + len(layer.places)]
            state = own[0] if len(own) == 1 or own[0] is None else BothStates(*own)
            x, state = self._called(
                layer, self._dropped(x, number), state, lengths=lengths, resets=resets
            )
            last += [state] if len(own) == 1 else state
        return restored(x), stacked(last, alone)

    def train(self, mode: bool = True) -> Self:
        for layer in self._layers:
            layer.it.train(mode)
        return super().train(mode)

    def step(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:  # noqa: A002
        """One time step: `(x_t [B, I], state) → (output_t [B, H], state)`, or `x_t [I]` alone.

        The same weights and the same form of state as for a sequence, whatever `row` is: one step of
        the cell has no walk.

        Raises OptionError for a bidirectional layer.
        """
        if self.bidirectional:
            raise OptionError(
                f"{self._name}: expected a layer in one direction, got bidirectional=True: it reads "
                "each sequence from its end too, which one step does not know. Call it on whole ones."
            )
        if input.dim() not in (1, 2) or input.shape[-1] != self.input_size:
            raise ShapeError(
                f"{self._name}: one step takes x_t of shape [B, I={self.input_size}], or "
                f"[I={self.input_size}] alone, got {list(input.shape)}."
            )
        alone = input.dim() == 1
        x = input.unsqueeze(0) if alone else input
        states = self._states(hx, x.shape[0], alone)
        for number, place in enumerate(self._places()):
            cell = lent(place.cell, self._weights(place))
            x, states[number] = cell(self._dropped(x, number), states[number])
        return (x.squeeze(0) if alone else x), stacked(states, alone)

    def initial_state(self, batch: int) -> Any:
        """What a batch starts from where no hx is given."""
        cells = [lent(place.cell, self._weights(place)) for place in self._places()]
        return stacked([cell.initial_state(batch) for cell in cells], alone=False)

    def layers(self) -> list[Recurrent | Bidirectional]:
        """Each layer, from the bottom, as drivers know it, with the weights as they are now."""
        return [lent(layer.it, self._weights_of(layer)) for layer in self._layers]

    def named_layers(self) -> Iterator[tuple[str, Recurrent]]:
        """Each layer and direction by the suffix of its weights: `l0`, `l0_reverse`, …."""
        for k, layer in enumerate(self.layers()):
            parts = (each for each in layer.modules() if isinstance(each, Recurrent))
            yield from zip((f"l{k}", f"l{k}_reverse"), parts, strict=False)

    @property
    def row(self) -> RowName:
        return self._row

    @property
    def recompute(self) -> Recompute:
        return self._recompute

    @property
    def output_size(self) -> int:
        return self._layers[0].places[0].cell.output_size * (1 + self.bidirectional)

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The weights of each layer and direction."""
        return [[getattr(self, name) for name in place.names.values()] for place in self._places()]

    def flatten_parameters(self) -> None:
        """Nothing: torch.nn's layers need it for cuDNN, and code written for them calls it."""

    def extra_repr(self) -> str:
        said = [str(self.input_size), str(self.hidden_size)]
        given = {name: getattr(self, name) for name in self.shown} | self.options
        for name, value in given.items():
            if name not in self.shown or value != self.shown[name]:
                said.append(f"{self.called.get(name, name)}={value!r}")
        return ", ".join(said)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _check(self) -> None:
        check_arguments(self)
        check_options(self, self.options, self.cell_type)

    def _layer(
        self, width: int, k: int, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> _Layer:
        """A layer, and the parameters of this module from which it will have its weights."""
        cells = [self._cell(width) for _ in range(1 + self.bidirectional)]
        parts = [
            Recurrent(cell, d == 1, row=self.row, recompute=self.recompute)
            for d, cell in enumerate(cells)
        ]
        places = []
        for d, cell in enumerate(cells):
            suffix = f"_l{k}_reverse" if d else f"_l{k}"
            names = {}
            for short, shape in self.held(cell).items():
                names[short] = name = short.replace(".", "_") + suffix
                empty = torch.empty(shape, device=device, dtype=dtype)
                self.register_parameter(name, nn.Parameter(empty))
            within = "backward_layer." if d else "forward_layer." if self.bidirectional else ""
            places.append(_Place(cell, f"{within}cell", names))
        layer = Bidirectional(parts[0], parts[1]) if self.bidirectional else parts[0]
        return _Layer(layer, tuple(places))

    def _cell(self, width: int) -> Cell:
        with torch.device("meta"):
            cell = self.cell_type(width, self.hidden_size, **self.cell_options())
        if self.learn_initial_state:
            cell.learn_initial_state()
        check_cell(self, cell)
        return cell

    def _places(self) -> list[_Place]:
        return [place for layer in self._layers for place in layer.places]

    def _weights(self, place: _Place) -> Mapping[str, Tensor]:
        held = {short: getattr(self, name) for short, name in place.names.items()}
        return self.weights(place.cell, held)

    def _weights_of(self, layer: _Layer) -> dict[str, Tensor]:
        return {
            f"{place.within}.{name}": each
            for place in layer.places
            for name, each in self._weights(place).items()
        }

    def _called(self, layer: _Layer, *given: Any, **marks: Any) -> tuple[Tensor, Any]:
        weights = self._weights_of(layer)
        if torch.compiler.is_compiling():
            if torch.compiler.is_exporting():
                # For torch's scan, which wants no two of its inputs in one place, and no history.
                weights = {name: each.detach().clone() for name, each in weights.items()}
            # A compiler asks about the very cell, and follows no copies made while it looks.
            called: tuple[Tensor, Any] = functional_call(layer.it, weights, given, marks)
            return called
        output, state = lent(layer.it, weights)(*given, **marks)
        return output, state

    def _states(self, hx: Any, batch: int, alone: bool) -> list[CellState | None]:
        return unstacked(self._name, hx, [place.cell for place in self._places()], batch, alone)

    def _dropped(self, x: Any, number: int) -> Any:
        if number == 0 or not self.dropout or not self.training:
            return x
        if isinstance(x, PackedSequence):
            return with_data(x, dropped(x.data, self.dropout))
        # Drawn in the order in which torch draws it, so that the same seed gives the same mask.
        first = 0 if x.dim() == 2 else 1
        return dropped(x.transpose(0, first).contiguous(), self.dropout).transpose(0, first)
