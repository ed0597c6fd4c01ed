"""Chunks of a long sequence: the same numbers forwards, and gradients that stay in their chunk."""

import pytest
import torch

from ostinato.cells import GRU, LSTM, LSTMState
from ostinato.drivers import Recurrent, truncated
from ostinato.errors import LengthsError, OptionError, ShapeError
from ostinato.wrappers import Bidirectional, Stack

B, T, I, H = 3, 7, 2, 4  # noqa: E741

LAYERS = {
    "layer": lambda: Recurrent(LSTM(I, H)).double(),
    "stack": lambda: Stack([Recurrent(LSTM(I, 3)), Stack([Recurrent(GRU(3, H))])]).double(),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())


@pytest.fixture
def x():
    torch.manual_seed(4)
    return torch.randn(B, T, I, dtype=torch.float64)


def leaves(state):
    return (
        [state]
        if isinstance(state, torch.Tensor)
        else [leaf for part in state for leaf in leaves(part)]
    )


def marks():
    resets = torch.zeros(B, T, dtype=torch.bool)
    resets[0, 3] = resets[1, 4] = True
    return {"lengths": torch.tensor([7, 5, 0]), "resets": resets}


@every_layer
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("given", [{}, marks()], ids=["plain", "lengths and resets"])
def test_the_chunks_are_the_whole(make, chunk, given, x):
    layer = make()
    expected, final = layer(x, **given)
    _, before = layer(x.flip(1))
    for state in (None, before):
        if state is not None:
            expected, final = layer(x, state, **given)
        pieces = list(truncated(layer, x, chunk, state, **given))
        times = [time for _, _, time in pieces]
        assert [time.start for time in times] == list(range(0, T, chunk))
        assert [time.stop for time in times] == [*range(chunk, T, chunk), T]
        torch.testing.assert_close(torch.cat([outputs for outputs, _, _ in pieces], 1), expected)
        torch.testing.assert_close(leaves(pieces[-1][1]), leaves(final))


def cut(state):
    if isinstance(state, torch.Tensor):
        return state.detach()
    return type(state)(*map(cut, state)) if hasattr(state, "_fields") else tuple(map(cut, state))


@every_layer
def test_gradients_stay_in_their_chunk(make, x):
    layer, x = make(), x.requires_grad_()
    weights = list(layer.parameters())
    state, sums = None, [torch.zeros_like(w) for w in weights]
    for outputs, after, time in truncated(layer, x, 3):
        again, state = layer(x[:, time], state)
        expected = torch.autograd.grad(again.square().sum(), weights)
        found = torch.autograd.grad(outputs.square().sum(), [*weights, x], retain_graph=True)
        torch.testing.assert_close(found[:-1], expected)
        reached = found[-1].abs().sum((0, 2)).nonzero().flatten().tolist()
        assert reached == list(range(T))[time]
        assert all(leaf.requires_grad for leaf in leaves(after))
        outputs.square().sum().backward()
        state = cut(state)
        sums = [a + b for a, b in zip(sums, expected, strict=True)]
    torch.testing.assert_close([w.grad for w in weights], sums)


def test_a_given_state_is_reached_from_the_first_chunk_alone(x):
    layer = Recurrent(LSTM(I, H)).double()
    state = LSTMState(*(torch.randn(B, H, dtype=torch.float64, requires_grad=True) for _ in "hc"))
    first, second, _ = (outputs for outputs, _, _ in truncated(layer, x, 3, state))
    assert all(g.any() for g in torch.autograd.grad(first.sum(), state))
    assert torch.autograd.grad(second.sum(), state, allow_unused=True) == (None, None)


def test_no_time_and_no_rows(x):
    layer = Recurrent(LSTM(I, H)).double()
    [(outputs, state, time)] = truncated(layer, x[:, :0], 3)
    assert outputs.shape == (B, 0, H)
    assert state.h.shape == (B, H)
    assert time == slice(0, 0)
    assert [o.shape[1] for o, _, _ in truncated(layer, x[:0], 3)] == [3, 3, 1]


def test_what_cannot_be_cut(x):
    layer = Recurrent(LSTM(I, H)).double()
    for chunk in (0, -1, 2.0, True):
        with pytest.raises(OptionError, match="chunk must be a whole number of at least 1"):
            truncated(layer, x, chunk)
    back = Recurrent(LSTM(I, H), reverse=True)
    for other in (back, Stack([back]), Bidirectional(Recurrent(LSTM(I, H)), back)):
        with pytest.raises(
            OptionError, match="truncated: .*first chunk would need the state after its last"
        ):
            truncated(other, x, 3)
    with pytest.raises(LengthsError, match="between 0 and T=7, got 2 to 8"):
        truncated(layer, x, 3, lengths=torch.tensor([2, 8, 3]))
    with pytest.raises(LengthsError, match=r"resets as bool of shape \[B=3, T=7\]"):
        truncated(layer, x, 3, resets=torch.zeros(B, 3, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"expected x of shape \[B, T, I\], got \[7\]"):
        truncated(layer, torch.zeros(7), 3)
    with pytest.raises(ShapeError, match=r"expected x of shape \[B, T, I=2\]"):
        next(truncated(layer, torch.zeros(B, 7, 5, dtype=torch.float64), 3))
