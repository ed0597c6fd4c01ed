"""A PackedSequence gives what the padded batch and its lengths give, whoever runs it."""

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

from ostinato.cells import GRU, LSTM
from ostinato.drivers import Recurrent, recurrent
from ostinato.errors import DtypeError, LengthsError, OptionError, ShapeError, StateError
from ostinato.kernels import native
from ostinato.wrappers import Around, Bidirectional, BothStates, Device, Stack, Sum
from tests.contract.agree import (
    draw,
    everything,
    in_float32,
    randomise,
    same,
    small_blocks,
    some_state,
)
from tests.contract.cells import CASES

I, H, B, T = 3, 4, 4, 5  # noqa: E741
LENGTHS = {"ragged": [2, 5, 1, 3], "sorted": [5, 3, 3, 1], "even": [5, 5, 5, 5]}
ROWS = ["program", "native", "reference"]

every_length = pytest.mark.parametrize(
    "lengths", [torch.tensor(each) for each in LENGTHS.values()], ids=LENGTHS
)


def agree(cell, lengths, **options):
    """On all rows, what the plain loop gives of the padded batch."""
    x, state = draw(1, B, T, *cell.input_shape).requires_grad_(), some_state(cell, B, 2)
    expected = everything(cell, "reference", x, state, lengths=lengths, **options)
    given = {"lengths": lengths, "packed": True, **options}
    for row in ("program", "reference"):
        same(everything(cell, row, x, state, **given), expected)
    if native.why_not(cell) is None:
        same(everything(*in_float32(cell, "native", x, state), **given), expected, torch.float32)


@every_length
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_every_cell(name, reverse, lengths):
    agree(randomise(CASES[name](I, H), seed=3), lengths, reverse=reverse)


@every_length
@pytest.mark.parametrize("options", [{"recompute": 2}, {"reverse": True, "recompute": "sqrt"}, {}])
@pytest.mark.parametrize("name", ["lstm", "gru", "sru"])
def test_in_small_blocks(name, options, lengths):
    with small_blocks():
        agree(randomise(CASES[name](I, H), seed=3), lengths, **options)


def test_with_resets():
    resets = torch.tensor([[0, 1, 0, 0, 0], [0, 0, 1, 0, 1], [1, 0, 0, 0, 0], [0, 0, 1, 1, 0]]).bool()
    for reverse in (False, True):
        agree(randomise(LSTM(I, H), 3), torch.tensor(LENGTHS["ragged"]), resets=resets, reverse=reverse)


@pytest.mark.parametrize("row", ["program", "native"])
def test_nothing_is_padded(row, monkeypatch):
    monkeypatch.setattr(recurrent, "padded", None)
    layer = Recurrent(randomise(LSTM(I, H), 3, dtype=torch.float32), row=row)
    outputs, _ = layer(pack_sequence([torch.ones(3, I), torch.ones(2, I)]))
    outputs.data.sum().backward()
    assert layer.cell.W_h.grad.abs().sum() > 0


def test_without_a_gradient_and_twice_differentiated():
    cell, lengths = randomise(GRU(I, H), 3), torch.tensor(LENGTHS["ragged"])
    x = draw(1, B, T, I)
    given = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    with torch.no_grad():
        outputs = [Recurrent(cell, row=row)(given)[0].data for row in ("program", "reference")]
    torch.testing.assert_close(*outputs)
    data = given.data.clone().requires_grad_()

    def of_data(data, reverse):
        packed = PackedSequence(data, *given[1:])
        return Recurrent(cell, reverse, row="program")(packed)[0].data

    for reverse in (False, True):
        assert torch.autograd.gradgradcheck(of_data, (data, reverse))


@every_length
def test_layers_made_of_several(lengths):
    layer = Stack(
        [
            Bidirectional(Recurrent(LSTM(I, H)), Recurrent(GRU(I, H), reverse=True)),
            Device(Around(Recurrent(GRU(2 * H, 2 * H)), Sum()), "cpu"),
        ],
        dropout=0.5,
    )
    layer, x = randomise(layer, 4), draw(1, B, T, I)
    given = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    torch.manual_seed(0)
    outputs, state = layer(given)
    torch.manual_seed(0)
    expected, last = layer(x, lengths=lengths)
    again = pack_padded_sequence(expected, lengths, batch_first=True, enforce_sorted=False)
    torch.testing.assert_close(outputs.data, again.data)
    torch.testing.assert_close(state, last)
    assert isinstance(state[0], BothStates)
    for one, other in zip(outputs[1:], given[1:], strict=True):
        assert torch.equal(one, other)


def test_what_does_not_fit():
    layer = Recurrent(LSTM(I, H))
    given = pack_sequence([torch.ones(3, I), torch.ones(2, I)])
    with pytest.raises(
        ShapeError, match=r"expected a PackedSequence of steps \[I=3\], got data of shape \[5, 2\]"
    ):
        layer(PackedSequence(torch.ones(5, 2), given.batch_sizes))
    with pytest.raises(DtypeError, match="torch.float64"):
        layer(PackedSequence(given.data.double(), given.batch_sizes))
    with pytest.raises(OptionError, match="a PackedSequence knows its lengths; give it without"):
        layer(given, lengths=torch.tensor([3, 2]))
    with pytest.raises(LengthsError, match=r"expected resets as bool of shape \[B=2, T=3\]"):
        layer(given, resets=torch.zeros(2, 4, dtype=torch.bool))
    with pytest.raises(StateError, match=r"of shape \[2, 4\], got \[3, 4\]"):
        layer(given, layer.cell.initial_state(3))
