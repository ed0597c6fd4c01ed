"""A network that feeds itself writes what a loop by hand writes, and knows when to end."""

import pytest
import torch

from ostinato.cells import GRU, LSTM
from ostinato.drivers import Recurrent, generate
from ostinato.errors import DtypeError, OptionError, ShapeError, StateError
from ostinato.wrappers import Bidirectional, Stack

B, I, H = 3, 2, 4  # noqa: E741


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(9)


def project(output):
    return torch.tanh(output[:, :I]) * 2


def stack():
    return Stack([Recurrent(LSTM(I, 3)), Recurrent(GRU(3, H))]).double()


LAYERS = {
    "cell": lambda: LSTM(I, H).double(),
    "layer": lambda: Recurrent(GRU(I, H)).double(),
    "stack": stack,
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())


def by_hand(layer, x, steps, state=None):
    run = Recurrent(layer) if isinstance(layer, LSTM) else layer
    outputs = []
    for _ in range(steps):
        output, state = run(x[:, None], state)
        outputs.append(output[:, 0])
        x = project(outputs[-1])
    return torch.stack(outputs, 1), state


def leaves(state):
    return (
        [state]
        if isinstance(state, torch.Tensor)
        else [leaf for part in state for leaf in leaves(part)]
    )


@every_layer
def test_equals_a_loop_by_hand(make):
    layer = make()
    x = torch.randn(B, I, dtype=torch.float64, requires_grad=True)
    outputs, state, lengths = generate(layer, x, feed=project, steps=5)
    expected, final = by_hand(layer, x, 5)
    assert outputs.shape == (B, 5, H)
    assert lengths.tolist() == [5] * B
    weights = [x, *layer.parameters()]
    for a, b in zip([outputs, *leaves(state)], [expected, *leaves(final)], strict=True):
        torch.testing.assert_close(a, b)
    sums = [
        o.square().sum() + sum(s.sum() for s in leaves(f))
        for o, f in ((outputs, state), (expected, final))
    ]
    for a, b in zip(*(torch.autograd.grad(total, weights) for total in sums), strict=True):
        torch.testing.assert_close(a, b)


@every_layer
def test_goes_on_from_a_state(make):
    layer = make()
    x = torch.randn(B, I, dtype=torch.float64)
    whole, final, _ = generate(layer, x, feed=project, steps=5)
    first, state, _ = generate(layer, x, feed=project, steps=2)
    rest, last, _ = generate(layer, project(first[:, -1]), state, feed=project, steps=3)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole)
    torch.testing.assert_close(leaves(last), leaves(final))


@every_layer
def test_gradients_are_right_numerically(make):
    layer = make()
    x = torch.randn(B, I, dtype=torch.float64, requires_grad=True)
    ends = torch.tensor([1, 3, 4])

    def run(x, *_):
        outputs, state, _ = generate(layer, x, feed=project, steps=4, stop=lambda _, t: ends <= t + 1)
        return outputs, *leaves(state)

    torch.autograd.gradcheck(run, (x, *layer.parameters()), fast_mode=True)


@every_layer
def test_a_stopped_row_rests(make):
    layer = make()
    x = torch.randn(B, I, dtype=torch.float64)
    ends = torch.tensor([1, 4, 2])
    asked = []

    def stop(output, t):
        asked.append(t)
        assert output.shape == (B, H)
        return ends == t + 1  # said once, and remembered

    def feed(output):
        return torch.where(output.any(1, keepdim=True), project(output), torch.nan)

    outputs, state, lengths = generate(layer, x, feed=feed, steps=9, stop=stop)
    assert asked == [0, 1, 2, 3]
    assert outputs.shape == (B, 4, H)
    assert lengths.tolist() == ends.tolist()
    for row, end in enumerate(ends.tolist()):
        alone, final = by_hand(layer, x[row : row + 1], end)
        torch.testing.assert_close(outputs[row : row + 1, :end], alone)
        assert not outputs[row, end:].any()
        for a, b in zip(leaves(state), leaves(final), strict=True):
            torch.testing.assert_close(a[row : row + 1], b)


@every_layer
def test_nothing_to_do(make):
    layer = make()
    x = torch.randn(B, I, dtype=torch.float64)
    outputs, state, lengths = generate(layer, x, feed=project, steps=0)
    assert outputs.shape == (B, 0, H)
    assert lengths.tolist() == [0] * B
    assert all(not leaf.any() and len(leaf) == B for leaf in leaves(state))
    outputs, state, lengths = generate(layer, x[:0], feed=project, steps=3)
    assert outputs.shape == (0, 3, H)
    assert lengths.shape == (0,)
    outputs, _, lengths = generate(
        layer, x[:0], feed=project, steps=3, stop=lambda *_: pytest.fail("no row to ask about")
    )
    assert outputs.shape == (0, 0, H)


def test_feed_is_not_asked_after_the_last_step():
    calls = []
    generate(GRU(I, H), torch.zeros(B, I), feed=lambda o: calls.append(o) or o[:, :I], steps=3)
    assert len(calls) == 2


def test_what_cannot_be_written():
    cell, x = GRU(I, H), torch.zeros(B, I)
    run = {"feed": project, "steps": 3}
    both = Bidirectional(Recurrent(GRU(I, H)), Recurrent(GRU(I, H), reverse=True))
    for layer, kind in (
        (Recurrent(cell, reverse=True), "a layer with reverse=True"),
        (Stack([Recurrent(GRU(I, I)), Recurrent(cell, reverse=True)]), "a layer with reverse=True"),
        (both, "Bidirectional"),
    ):
        with pytest.raises(OptionError, match=rf"generate: .* got {kind}: .* has no end yet"):
            generate(layer, x, **run)
    for steps in (-1, 2.0, True):
        with pytest.raises(OptionError, match="steps must be a whole number"):
            generate(cell, x, feed=project, steps=steps)
    with pytest.raises(ShapeError, match=r"expected feed to return.*\[3, 2\], got \[3, 4\].*project"):
        generate(cell, x, feed=lambda output: output, steps=2)
    with pytest.raises(ShapeError, match="got a NoneType"):
        generate(cell, x, feed=lambda output: None, steps=2)
    with pytest.raises(DtypeError, match="in torch.float32, got torch.int64"):
        generate(cell, x, feed=lambda output: output[:, :I].long(), steps=2)
    with pytest.raises(ShapeError, match=r"one value a row, \[B=3\], got \[\]"):
        generate(cell, x, **run, stop=lambda output, t: torch.tensor(True))
    with pytest.raises(DtypeError, match="a bool tensor.*got torch.float32"):
        generate(cell, x, **run, stop=lambda output, t: output[:, 0])
    with pytest.raises(DtypeError, match="got a bool"):
        generate(cell, x, **run, stop=lambda output, t: True)
    with pytest.raises(ShapeError, match=r"expected x of shape \[B, T, I=2\]"):
        generate(cell, torch.zeros(B, 3), **run)
    with pytest.raises(StateError):
        generate(cell, x, torch.zeros(B, H), **run)
