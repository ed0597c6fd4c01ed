"""What wraps layers, against what it is made of: both stacked forms, masks, ways around, devices."""

import pytest
import torch

from ostinato.cells import GRU, LSTM, LSTMState
from ostinato.cells.masks import fresh_draws, random_mask
from ostinato.drivers import Recurrent, Static
from ostinato.errors import OptionError, ShapeError
from ostinato.wrappers import Around, Bidirectional, Device, Gates, Stack, Sum


def pair(inputs, hidden):
    return Bidirectional(Recurrent(GRU(inputs, hidden)), Recurrent(GRU(inputs, hidden), reverse=True))


def test_whole_stacks_in_each_direction():
    """One stacked form: nothing crosses until the end."""

    def stack(**options):
        return Stack([Recurrent(GRU(3, 4), **options), Recurrent(LSTM(4, 5), **options)])

    layer = Bidirectional(stack(), stack(reverse=True))
    x, lengths = torch.randn(2, 6, 3), torch.tensor([6, 3])
    outputs, state = layer(x, lengths=lengths)
    ahead, first = layer.forward_layer(x, lengths=lengths)
    behind, second = layer.backward_layer(x, lengths=lengths)
    torch.testing.assert_close(outputs, torch.cat([ahead, behind], -1))
    torch.testing.assert_close(tuple(state), (first, second))
    assert layer.output_size == 10
    x = torch.randn(1, 6, 3, requires_grad=True)
    (reached,) = torch.autograd.grad(layer(x)[0][:, 2, :5].sum(), x)
    assert not reached[:, 3:].any()


def test_pairs_upon_pairs():
    """The other: each layer reads both directions of the one below, as torch has it."""
    theirs = torch.nn.GRU(3, 4, 2, bidirectional=True, batch_first=True)
    ours = Stack([pair(3, 4), pair(8, 4)])
    assert ours.output_size == 8
    x = torch.randn(1, 6, 3, requires_grad=True)
    (reached,) = torch.autograd.grad(ours(x)[0][:, 2, :4].sum(), x)
    assert reached.abs().sum(-1).min() > 0
    assert theirs(x)[0].shape == ours(x)[0].shape


@pytest.mark.parametrize("row", ["reference", "program"])
def test_dropout_between_layers_by_hand(row):
    below, above = Recurrent(GRU(3, 4), row=row), Recurrent(GRU(4, 5), row=row)
    stack, x = Stack([below, above], dropout=0.4), torch.randn(2, 6, 3)
    torch.manual_seed(7)
    outputs, _ = stack(x)
    torch.manual_seed(7)
    draws = fresh_draws(2, x.device)[:, None] + torch.arange(6)
    mask = random_mask(draws, (4,), 0.4, 1 / 0.6, 0, x.dtype)
    torch.testing.assert_close(outputs, above(below(x)[0] * mask)[0])
    torch.manual_seed(7)
    torch.testing.assert_close(Static(stack, 6, backend="eager")(x)[0], outputs)
    assert "dropout=0.4" in repr(stack)


class Mean(torch.nn.Module):
    """A join of one's own."""

    def forward(self, x, y):
        return (x + y).mean(-1, keepdim=True)


def test_around_joins_a_layer_with_what_it_reads():
    x, lengths = torch.randn(2, 6, 4), torch.tensor([6, 3])
    own = (torch.arange(6) < lengths[:, None])[..., None]
    inner = pair(4, 2)
    plain, state = inner(x, lengths=lengths)
    junk = x.masked_fill(~own, float("nan"))
    summed = Around(inner, Sum())
    torch.testing.assert_close(summed(junk, lengths=lengths), (plain + own * x, state))
    projected = Around(pair(4, 3), Sum(4, 6))
    assert projected.output_size == 6
    torch.testing.assert_close(projected(x)[0], projected.layer(x)[0] + x @ projected.join.W_p)
    gated = Around(inner, Gates(4, carry_bias=-1.0))
    carry = torch.sigmoid(x @ gated.join.W_c + gated.join.b_c)
    torch.testing.assert_close(gated(x)[0], carry * x + (1 - carry) * inner(x)[0])
    averaged = Around(inner, Mean(), output_size=1)
    assert averaged(x)[0].shape == (2, 6, averaged.output_size)
    with pytest.raises(ShapeError, match=r"got 4 and 6\. Project x: Sum\(4, 6\)"):
        Around(pair(4, 3), Sum())(x)
    with pytest.raises(OptionError, match=r"Around: expected a layer, got the cell GRU\. Make it one"):
        Around(GRU(4, 4), Sum())


def test_device_moves_a_layer_and_what_it_is_given():
    """Shapes alone, on the one other device that every machine has."""
    layer = Device(Recurrent(LSTM(3, 4)), "meta")
    assert all(weight.device.type == "meta" for weight in layer.parameters())
    outputs, state = layer(torch.randn(2, 5, 3))
    assert outputs.device.type == "meta"
    assert outputs.shape == (2, 5, layer.output_size)
    assert all(each.device.type == "meta" for each in state)
    again, _ = layer(torch.randn(2, 5, 3), LSTMState(torch.randn(2, 4), torch.randn(2, 4)))
    assert again.shape == (2, 5, 4)


def test_device_lets_gradients_come_back():
    layer = Device(Recurrent(LSTM(3, 4)), "cpu")
    x = torch.randn(2, 5, 3, requires_grad=True)
    torch.testing.assert_close(layer(x), layer.layer(x))
    (gradient,) = torch.autograd.grad(layer(x)[0].sum(), x)
    assert gradient.any()
    with pytest.raises(OptionError, match=r"Device: expected a layer, got the cell LSTM"):
        Device(LSTM(3, 4), "cpu")
