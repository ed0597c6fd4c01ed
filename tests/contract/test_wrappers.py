"""The promises of a layer made of layers, on every row: a new wrapper adds a line to WRAPPED."""

import copy
import math
from itertools import pairwise

import pytest
import torch

from ostinato import wrappers
from ostinato.cells import GRU, LSTM, QRNN, SRU, Cell, Elman
from ostinato.drivers import Recurrent
from ostinato.wrappers import (
    Around,
    Bidirectional,
    Device,
    Dropout,
    Gates,
    Residual,
    Stack,
    Sum,
    WeightDrop,
    Zoneout,
)
from tests.contract.agree import draw, floating, randomise, same
from tests.contract.cells import ROWS, every_row
from tests.contract.test_contract import close, flat

B, T, I = 4, 7, 3  # noqa: E741


def pair(make, inputs, row):
    """One layer from each end."""
    return Bidirectional(
        Recurrent(make(inputs, 4), row=row), Recurrent(make(inputs, 4), reverse=True, row=row)
    )


WRAPPED = {
    "stack": lambda row: Stack([Recurrent(LSTM(I, 5), row=row), Recurrent(GRU(5, 4), row=row)]),
    "stack-of-scans": lambda row: Stack(
        [Recurrent(QRNN(I, 5, window=2), row=row), Recurrent(SRU(5, 4), row=row)]
    ),
    "stack-of-stacks": lambda row: Stack([Stack([Recurrent(Elman(I, 4), row=row)])]),
    "pair": lambda row: pair(GRU, I, row),
    "pair-summed": lambda row: Bidirectional(
        Recurrent(LSTM(I, 4), row=row), Recurrent(LSTM(I, 4), reverse=True, row=row), torch.add, 4
    ),
    "stacked-pairs": lambda row: Stack([pair(LSTM, I, row), pair(SRU, 8, row)]),
    "stack-in-a-pair": lambda row: Bidirectional(
        Stack([Recurrent(LSTM(I, 4), row=row)]),
        Stack([Recurrent(LSTM(I, 4), reverse=True, row=row)]),
    ),
    "stack-thinned": lambda row: Stack(
        [Recurrent(LSTM(I, 5), row=row), Recurrent(GRU(5, 4), row=row)], dropout=0.4
    ),
    "around-a-pair": lambda row: Around(pair(GRU, I, row), Sum(I, 8)),
    "gates-around-a-stack": lambda row: Around(
        Stack([Recurrent(Dropout(GRU(I, 4), input=0.4), row=row), Recurrent(SRU(4, I), row=row)]),
        Gates(I),
    ),
    "device": lambda row: Stack([Device(Recurrent(LSTM(I, 4), row=row), "cpu")]),
    "stacked-cells-with-masks": lambda row: Stack(
        [
            pair(lambda i, h: Zoneout(LSTM(i, h), 0.3), I, row),
            Recurrent(WeightDrop(Residual(GRU(8, 8)), 0.4, ["cell.W_h"]), row=row),
        ]
    ),
}

AHEAD = ["stack", "stack-of-scans", "stack-of-stacks", "gates-around-a-stack", "device"]
"""Those that a chunk can follow: they read from the start, and what they draw is in the state."""

every_wrapper = pytest.mark.parametrize("name", WRAPPED)


def layer_of(name, row):
    """In the row's kind of number, all weights random, the same ones on each row."""
    torch.manual_seed(0)
    return randomise(WRAPPED[name](row), 0, dtype=ROWS[row])


def some_input(row, *axes):
    return torch.randn(*axes, I, dtype=ROWS[row])


def rows_of(state, rows):
    """The same rows of every tensor of a state, however deep."""
    if isinstance(state, torch.Tensor):
        return state[rows]
    parts = [rows_of(each, rows) for each in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def test_every_wrapper_of_the_library_is_held_to_the_contract():
    known = {getattr(wrappers, name) for name in wrappers.__all__}
    layers = {each for each in known if issubclass(each, torch.nn.Module)}
    held = {type(part) for make in WRAPPED.values() for part in make("program").modules()}
    assert held >= {each for each in layers if not issubclass(each, Cell)}


@every_wrapper
def test_rows_agree(name):
    given, lengths = draw(1, B, T, I), torch.tensor([7, 0, 3, 5])
    resets = torch.rand(B, T) < 0.3
    results = []
    for row, dtype in ROWS.items():
        layer, x = layer_of(name, row), given.to(dtype).requires_grad_()
        outputs, state = layer(x, lengths=lengths, resets=resets)
        loss = outputs.sin().sum() + sum(each.cos().sum() for each in floating(flat(state)))
        grads = torch.autograd.grad(loss, [x, *layer.parameters()])
        results.append({str(n): e.detach() for n, e in enumerate([outputs, *flat(state), *grads])})
    expected, program, native = results
    same(program, expected)
    same(native, expected, torch.float32)


@every_row
@pytest.mark.parametrize("name", AHEAD)
def test_chunks_make_the_whole(name, row):
    layer, x = layer_of(name, row), some_input(row, B, T)
    whole, state, outputs = layer(x), None, []
    for chunk in x.split([2, 1, 4], 1):
        output, state = layer(chunk, state)
        outputs.append(output)
    close(whole, (torch.cat(outputs, 1), state))


@every_row
@every_wrapper
def test_a_row_does_not_depend_on_the_others(name, row):
    layer, x = layer_of(name, row), some_input(row, B, T)
    outputs, state = layer(x)
    order = torch.tensor([2, 0, 3, 1])
    close(layer(x[order]), (outputs[order], rows_of(state, order)))


@every_row
@every_wrapper
def test_lengths_end_a_row(name, row):
    layer, x, lengths = layer_of(name, row), some_input(row, B, T), torch.tensor([7, 0, 3, 5])
    outputs, state = layer(x, lengths=lengths)
    for number, length in enumerate(lengths.tolist()):
        own = slice(number, number + 1)
        alone, alone_state = layer(x[own, :length])
        close(outputs[own, :length], alone)
        close(rows_of(state, own), alone_state)


@every_row
@every_wrapper
def test_padding_changes_nothing(name, row):
    layer, lengths = layer_of(name, row), torch.tensor([7, 0, 3, 5])
    padding, x = torch.arange(T) >= lengths[:, None], some_input(row, B, T)
    results = []
    for filling in (0.0, math.nan):
        filled = x.masked_fill(padding[:, :, None], filling).requires_grad_()
        outputs, state = layer(filled, lengths=lengths)
        valid = outputs[~padding]
        loss = (valid * valid.detach().cos()).sum() + sum(
            (each**2).sum() for each in floating(flat(state))
        )
        grads = torch.autograd.grad(loss, [filled, *layer.parameters()])
        results.append([valid, *flat(state), *grads])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@every_row
@pytest.mark.parametrize("name", [name for name in WRAPPED if name != "stack-thinned"])
def test_resets_cut_a_row(name, row):
    layer, x = layer_of(name, row), some_input(row, 1, T)
    resets = torch.zeros(1, T, dtype=torch.bool)
    resets[0, [2, 5]] = True
    parts = [layer(x[:, a:b])[0] for a, b in pairwise([0, 2, 5, T])]
    close(layer(x, resets=resets)[0], torch.cat(parts, 1))


@every_row
@every_wrapper
@pytest.mark.parametrize("shape", [(0, 4), (2, 0), (1, 1)])
def test_any_batch_and_any_time(name, row, shape):
    layer, x = layer_of(name, row), some_input(row, *shape).requires_grad_()
    outputs, state = layer(x)
    assert outputs.shape == (*shape, layer.output_size)
    assert all(each.shape[0] == shape[0] for each in flat(state))
    if outputs.requires_grad:
        outputs.sum().backward()


@every_wrapper
@pytest.mark.parametrize("row", ["reference", "program"])
def test_gradients_are_numerically_right(name, row):
    layer, lengths = layer_of(name, row), torch.tensor([3, 2])
    resets = torch.tensor([[False, True, False], [False, False, False]])

    def function(x):
        outputs, state = layer(x, lengths=lengths, resets=resets)
        return (outputs, *floating(flat(state)))

    assert torch.autograd.gradcheck(function, some_input(row, 2, 3).requires_grad_())


@every_row
@every_wrapper
def test_save_load_and_copy(name, row):
    layer, x = layer_of(name, row), some_input(row, 2, 3)
    other = WRAPPED[name](row).to(ROWS[row])
    other.load_state_dict(layer.state_dict())
    for twin in (other, copy.deepcopy(layer)):
        assert torch.equal(twin(x)[0], layer(x)[0])
