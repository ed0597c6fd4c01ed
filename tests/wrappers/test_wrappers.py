"""Direction and depth: what they compose, and what they refuse."""

import pytest
import torch

from ostinato.cells import GRU, LSTM, Elman
from ostinato.drivers import Recurrent
from ostinato.errors import OstinatoError
from ostinato.wrappers import Bidirectional, Stack


def pair(inputs, hidden, **options):
    return Bidirectional(
        Recurrent(GRU(inputs, hidden)), Recurrent(GRU(inputs, hidden), reverse=True), **options
    )


def test_a_stack_continues_from_its_states():
    stack = Stack([Recurrent(LSTM(3, 5)), Recurrent(Elman(5, 2))])
    x = torch.randn(2, 6, 3)
    whole, _ = stack(x)
    first, states = stack(x[:, :4])
    second, _ = stack(x[:, 4:], states)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    assert stack.output_size == 2


def test_dropout_stands_between_layers_only():
    torch.manual_seed(0)
    single = Stack([Recurrent(Elman(3, 4))], dropout=0.5).train()
    x = torch.randn(2, 5, 3)
    assert torch.equal(single(x)[0], single(x)[0])
    double = Stack([Recurrent(Elman(3, 4)), Recurrent(Elman(4, 4))], dropout=0.5).train()
    assert not torch.equal(double(x)[0], double(x)[0])
    assert torch.equal(double.eval()(x)[0], double(x)[0])
    assert double(x)[0].ne(0).all()


def test_each_layer_of_a_stacked_pair_reads_both_directions():
    stack = Stack([pair(3, 4), pair(8, 5)])
    x = torch.randn(2, 6, 3, requires_grad=True)
    outputs, states = stack(x)
    assert outputs.shape == (2, 6, 10)
    assert len(states) == 2
    (gradient,) = torch.autograd.grad(outputs[:, 2].sum(), x)
    assert gradient.abs().sum(-1).min() > 0  # any step sees all steps


def test_directions_see_their_own_side():
    layer = pair(3, 4)
    x = torch.randn(1, 5, 3, requires_grad=True)
    outputs, state = layer(x)
    (ahead,) = torch.autograd.grad(outputs[:, 2, :4].sum(), x, retain_graph=True)
    (behind,) = torch.autograd.grad(outputs[:, 2, 4:].sum(), x)
    assert not ahead[:, 3:].any()
    assert not behind[:, :2].any()
    torch.testing.assert_close(state.forward.h, outputs[:, -1, :4])
    torch.testing.assert_close(state.backward.h, outputs[:, 0, 4:])


def test_merge_is_a_function():
    layer = pair(3, 4, merge=torch.add, output_size=4)
    outputs, _ = layer(torch.randn(2, 5, 3))
    assert outputs.shape == (2, 5, 4)
    assert layer.output_size == 4


def test_lengths_and_resets_reach_every_layer():
    stack = Stack([pair(3, 4), pair(8, 5)])
    x, lengths = torch.randn(2, 6, 3), torch.tensor([6, 3])
    outputs, _ = stack(x, lengths=lengths)
    torch.testing.assert_close(outputs[1:, :3], stack(x[1:, :3])[0])
    assert not outputs[1, 3:].any()
    resets = torch.zeros(2, 6, dtype=torch.bool)
    resets[:, 2] = True
    torch.testing.assert_close(stack(x, resets=resets)[0][:, 2:], stack(x[:, 2:])[0])


def test_what_they_refuse():
    layer = Recurrent(GRU(3, 4))
    with pytest.raises(OstinatoError, match="the same object twice"):
        Bidirectional(layer, layer)
    for wrong in (Recurrent(GRU(3, 4)), Stack([Recurrent(GRU(3, 4))]), pair(3, 4)):
        with pytest.raises(OstinatoError, match="second with reverse=True, and so every layer within"):
            Bidirectional(layer, wrong)
    with pytest.raises(OstinatoError, match="first layer to run forwards"):
        Bidirectional(pair(3, 4), Recurrent(GRU(3, 4), reverse=True))
    with pytest.raises(OstinatoError, match=r"got the cell GRU\. Make it one by Recurrent"):
        Bidirectional(layer, GRU(3, 4))
    with pytest.raises(
        OstinatoError, match=r"Stack: expected a layer, got the cell LSTM\. Make it one"
    ):
        Stack([layer, LSTM(4, 4)])
    with pytest.raises(
        OstinatoError, match=r"with output_size; got Linear\. Layers are Recurrent, Stack"
    ):
        Stack([layer, torch.nn.Linear(4, 4)])
    with pytest.raises(OstinatoError, match="at least one layer, got none"):
        Stack([])
    with pytest.raises(
        OstinatoError, match=r"dropout is a probability, at least 0 and below 1; got 1\.5"
    ):
        Stack([layer], dropout=1.5)
    with pytest.raises(OstinatoError, match=r"one state a layer \(1\), got 2"):
        Stack([layer])(torch.randn(1, 2, 3), [None, None])
