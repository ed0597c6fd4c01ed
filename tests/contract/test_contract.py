"""The promises of every cell, on each row; `test_rows.py` compares the rows."""

import copy
import math
import re
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato import wrappers
from ostinato.cells import CELLS, Cell
from ostinato.cells.checks import named
from ostinato.drivers import Recurrent
from ostinato.wrappers import Drawing, Wrapped
from tests.contract.agree import floating, rows_agree
from tests.contract.cells import CASES, ROWS, every_cell, every_cell_on_every_row, on

I, H = 3, 4  # noqa: E741
EXACT = {
    torch.float64: {"rtol": 1e-11, "atol": 1e-12},
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},
    torch.int64: {"rtol": 0, "atol": 0},
}
"""Equal but for the order of a sum."""


def layer_of(row, make, reverse=False, seed=0, sizes=(I, H)):
    """A layer in the row's kind of number whose weights are all random, biases too."""
    torch.manual_seed(seed)
    layer = Recurrent(make(*sizes), reverse=reverse, row=row).to(ROWS[row])
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.randn_like(weight) * 0.5)
    return layer


def some_input(layer, *axes):
    """Random, of the shape that the layer's cell reads: `some_input(layer, B, T)`."""
    return torch.randn(*axes, *layer.cell.input_shape, dtype=ROWS[layer.row])


def some_state(layer, batch):
    """Random, and different in every field and row."""
    start = layer.cell.initial_state(batch)
    return type(start)(
        *(
            torch.randn_like(s) if s.is_floating_point() else torch.randint_like(s, 1 << 40)
            for s in start
        )
    )


def close(got, expected):
    for a, b in zip(flat(got), flat(expected), strict=True):
        torch.testing.assert_close(a, b, **EXACT[b.dtype])


def flat(value):
    return [value] if isinstance(value, torch.Tensor) else [t for part in value for t in flat(part)]


def test_every_cell_of_the_library_is_held_to_the_contract():
    held = {type(part) for make in CASES.values() for part in make(2, 2).modules()}
    wrapping = {getattr(wrappers, name) for name in wrappers.__all__} - {Wrapped, Drawing}
    assert held >= set(CELLS.values()) | {each for each in wrapping if issubclass(each, Cell)}


@every_cell_on_every_row
def test_steps_make_the_sequence(row, make):
    layer = layer_of(row, make)
    x = some_input(layer, 2, 5)
    state, outputs = some_state(layer, 2), []
    whole = layer(x, state)
    for x_t in x.unbind(1):
        output, state = layer.cell(x_t, state)
        outputs.append(output)
    close(whole, (torch.stack(outputs, 1), state))


@every_cell_on_every_row
@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(0, 2**31))
def test_chunks_make_the_whole(row, make, sizes, seed):
    layer = layer_of(row, make, seed=seed)
    x = some_input(layer, 2, sum(sizes))
    state, outputs = some_state(layer, 2), []
    whole = layer(x, state)
    for chunk in x.split(sizes, 1):
        output, state = layer(chunk, state)
        outputs.append(output)
    close(whole, (torch.cat(outputs, 1), state))


@every_cell_on_every_row
def test_a_row_does_not_depend_on_the_others(row, make):
    layer = layer_of(row, make)
    x = some_input(layer, 4, 6)
    outputs, state = layer(x)
    order = torch.tensor([2, 0, 3, 1])
    close(layer(x[order]), (outputs[order], type(state)(*(s[order] for s in state))))
    alone, alone_state = layer(x[1:2])
    close((alone, alone_state), (outputs[1:2], type(state)(*(s[1:2] for s in state))))


@every_cell_on_every_row
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
def test_lengths_end_a_row(row, make, reverse):
    layer = layer_of(row, make, reverse)
    x = some_input(layer, 4, 6)
    lengths, start = torch.tensor([6, 0, 2, 5]), some_state(layer, 4)
    outputs, state = layer(x, start, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        own = type(start)(*(s[row : row + 1] for s in start))
        alone, alone_state = layer(x[row : row + 1, :length], own)
        close(outputs[row : row + 1, :length], alone)
        assert not outputs[row, length:].any()
        close(type(state)(*(s[row : row + 1] for s in state)), alone_state)


@every_cell_on_every_row
@pytest.mark.parametrize("junk", [math.nan, math.inf, 1e30])
def test_padding_changes_nothing(row, make, junk):
    layer = layer_of(row, make)
    x = some_input(layer, 3, 5)
    lengths = torch.tensor([5, 2, 0])
    padding = torch.arange(5) >= lengths[:, None]
    results = []
    for filling in (0.0, junk):
        filled = x.clone()
        filled[padding] = filling
        filled.requires_grad_()
        outputs, state = layer(filled, lengths=lengths)
        loss = (outputs * outputs.detach().cos()).sum() + sum((s**2).sum() for s in state)
        grads = torch.autograd.grad(loss, [filled, *layer.parameters()])
        results.append([outputs, *state, *grads])
        assert not grads[0][padding].any()
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)


@every_cell_on_every_row
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("lengths", [None, [7, 4]], ids=["full", "ragged"])
def test_resets_cut_a_row(row, make, reverse, lengths):
    layer = layer_of(row, make, reverse)
    x = some_input(layer, 2, 7)
    resets = torch.zeros(2, 7, dtype=torch.bool)
    resets[0, [2, 5]] = True
    resets[1, [1, 2]] = True
    ends = [7, 7] if lengths is None else lengths
    outputs, state = layer(x, resets=resets, lengths=None if lengths is None else torch.tensor(lengths))
    for row in range(2):
        cuts = [0, *resets[row].nonzero().flatten().tolist(), ends[row]]
        parts = [layer(x[row : row + 1, a:b]) for a, b in pairwise(cuts)]
        close(outputs[row, : ends[row]], torch.cat([part[0][0] for part in parts]))
        last = parts[0 if reverse else -1][1]
        close(type(state)(*(s[row : row + 1] for s in state)), last)


@every_cell_on_every_row
def test_no_gradient_crosses_a_reset(row, make):
    layer = layer_of(row, make)
    x = some_input(layer, 1, 6).requires_grad_()
    resets = torch.zeros(1, 6, dtype=torch.bool)
    resets[0, 3] = True
    outputs, _ = layer(x, resets=resets)
    (gradient,) = torch.autograd.grad(outputs[:, 3:].sum(), x)
    assert not gradient[:, :3].any()
    assert gradient[:, 3:].any()


@every_cell_on_every_row
def test_a_reset_leaves_the_given_state_behind(row, make):
    layer = layer_of(row, make)
    x = some_input(layer, 1, 4)
    resets = torch.tensor([[True, False, False, False]])
    close(layer(x, some_state(layer, 1), resets=resets), layer(x))


@every_cell_on_every_row
def test_reverse_is_a_flip_within_the_length(row, make):
    forwards, backwards = layer_of(row, make), layer_of(row, make, reverse=True)
    x, lengths = some_input(forwards, 3, 5), torch.tensor([5, 3, 0])
    flipped = x.clone()
    expected = x.new_zeros(3, 5, *forwards.cell.output_shape)
    for row, length in enumerate(lengths.tolist()):
        flipped[row, :length] = x[row, :length].flip(0)
    outputs, state = forwards(flipped, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        expected[row, :length] = outputs[row, :length].flip(0)
    close(backwards(x, lengths=lengths), (expected, state))
    close(backwards(x)[0], forwards(x.flip(1))[0].flip(1))


def differentiable(row, make, reverse=False):
    """The layer as a function of input, initial state and every weight."""
    layer = layer_of(row, make, reverse, sizes=(2, 3))
    if len(layer.cell.input_shape) > 1:
        layer = layer_of(row, make, reverse, sizes=(1, 1))
    names = [name for name, _ in layer.named_parameters()]
    start = some_state(layer, 2)
    lengths = torch.tensor([3, 2])
    resets = torch.tensor([[False, True, False], [False, False, False]])

    def function(x, *rest):
        fields = list(rest[: len(floating(start))])
        state = type(start)(*(fields.pop(0) if s.is_floating_point() else s for s in start))
        weights = dict(zip(names, rest[-len(names) :], strict=True)) if names else {}
        arguments = {"lengths": lengths, "resets": resets}
        outputs, last = torch.func.functional_call(layer, weights, (x, state), arguments)
        return (outputs, *floating(last))

    x = some_input(layer, 2, 3)
    inputs = [x, *floating(start), *(weight.detach() for weight in layer.parameters())]
    return function, [each.clone().requires_grad_() for each in inputs]


@on(["reference", "program"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
def test_gradients_are_numerically_right(row, make, reverse):
    function, inputs = differentiable(row, make, reverse)
    assert torch.autograd.gradcheck(function, inputs)


@every_cell
def test_second_derivatives_are_numerically_right(make):
    function, inputs = differentiable("reference", make)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize(
    "name",
    [
        *("elman", "lstm-everything", "gru", "sru", "layer-norm-lstm", "qrnn-ifo-window-2"),
        *("zoneout-dropout-lstm", "weight-drop-lstm", "attention-cell-stack"),
    ],
)
def test_second_derivatives_of_a_program(name, reverse):
    """There they are the plain loop's."""
    function, inputs = differentiable("program", CASES[name], reverse)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


@every_cell
def test_a_learned_start(make):
    """A cell whose initial state is a weight: zeros at first; its gradient, through resets too."""
    cell = layer_of("reference", make).cell.learn_initial_state()
    start = {name: each for name, each in cell.named_parameters() if name.endswith("_0")}
    for number, each in enumerate(start.values()):
        assert not each.any()
        torch.nn.init.constant_(each, 0.1 * number + 0.2)
    resets = torch.tensor([[0, 0, 1, 0, 1, 0], [1, 0, 0, 0, 0, 0], [0] * 6], dtype=torch.bool)
    x = torch.linspace(-1, 1, 18 * math.prod(cell.input_shape)).double()
    x = x.view(3, 6, *cell.input_shape).requires_grad_()
    got = rows_agree(cell, x, resets=resets, lengths=torch.tensor([6, 4, 0]))
    assert start
    assert all(got[f"gradient of {name}"].any() for name in start)


@every_cell_on_every_row
@pytest.mark.parametrize("shape", [(0, 4), (2, 0), (0, 0), (1, 1), (3, 7)])
def test_any_batch_and_any_time(row, make, shape):
    layer = layer_of(row, make)
    x = some_input(layer, *shape).requires_grad_()
    outputs, state = layer(x)
    assert outputs.shape == (*shape, *layer.cell.output_shape)
    assert [s.shape[1:] for s in state] == [*layer.cell.state_shapes]
    assert all(len(s) == shape[0] for s in state)
    if shape[1]:
        (outputs.sum() + sum(s.sum() for s in state)).backward()
        assert x.grad.shape == x.shape
    else:
        close(state, layer.cell.initial_state(shape[0]))


@every_cell_on_every_row
def test_layout_in_memory_does_not_matter(row, make):
    layer = layer_of(row, make)
    x = some_input(layer, 2, 5)
    expected = layer(x)
    close(layer(x.transpose(0, 1).contiguous().transpose(0, 1)), expected)
    every_second = (slice(None), slice(None, None, 2), ..., slice(None, None, 2))
    padded = torch.randn(2, 10, *x.shape[2:-1], 2 * x.shape[-1], dtype=x.dtype)
    padded[every_second] = x
    close(layer(padded[every_second]), expected)
    same = x[:1].expand(3, *x.shape[1:])
    close(layer(same)[0], layer(same.contiguous())[0])


@every_cell_on_every_row
def test_save_load_copy_and_seed(row, make):
    layer = layer_of(row, make)
    x = some_input(layer, 2, 3)
    other = layer_of(row, make, seed=1)
    other.load_state_dict(layer.state_dict())
    for twin in (other, copy.deepcopy(layer)):
        assert torch.equal(twin(x)[0], layer(x)[0])
    assert torch.equal(layer_of(row, make)(x)[0], layer(x)[0])
    assert not torch.equal(layer_of(row, make, seed=1)(x)[0], layer(x)[0])


@every_cell_on_every_row
def test_every_weight_matters(row, make):
    """No weight is declared and then forgotten in the step."""
    layer = layer_of(row, make)
    x = some_input(layer, 2, 3)
    outputs, state = layer(x, some_state(layer, 2))
    last = floating(state)[-1]
    grads = torch.autograd.grad(outputs.sin().sum() + last.cos().sum(), layer.parameters())
    assert all(g.abs().max() > 1e-6 for g in grads)


@every_cell_on_every_row
def test_wrong_shapes_are_told(row, make):
    layer = layer_of(row, make)
    x = some_input(layer, 2, 5)
    flat = x.flatten(2)[..., 0]
    wanted = re.escape(f"expected x of shape {named(layer.cell, 'B', 'T')}, got [2, 5]")
    with pytest.raises(ValueError, match=wanted):
        layer(flat)
    with pytest.raises(ValueError, match=r"one step takes x_t of shape .* wrap the cell in Recurrent"):
        layer.cell(x)
    with pytest.raises(ValueError, match=r"lengths as integers of shape \[B=2\]"):
        layer(x, lengths=torch.ones(3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"lengths between 0 and T=5, got 1 to 6"):
        layer(x, lengths=torch.tensor([1, 6]))
    with pytest.raises(ValueError, match=r"resets as bool of shape \[B=2, T=5\]"):
        layer(x, resets=torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"(size|channels) must be a whole number .*, got 0"):
        make(I, 0)
