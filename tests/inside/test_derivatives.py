"""torch.func and derivatives of derivatives, on each row or refused; and what torch.nn does."""

import pytest
import torch
from torch import nn
from torch.func import (
    functional_call,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vmap,
)

from ostinato.errors import LengthsError, RowError
from tests.inside.layers import (
    LAYERS,
    LENGTHS,
    MARKS,
    RESETS,
    B,
    I,
    close,
    flat,
    layer_of,
    some_input,
)

# Torch's own use of what it has deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node"),
]

every_layer = pytest.mark.parametrize("name", LAYERS)
every_row = pytest.mark.parametrize("row", ["program", "reference"])
every_mark = pytest.mark.parametrize("marks", MARKS.values(), ids=MARKS.keys())


def several(count, **options):
    return torch.stack([some_input(seed=seed, **options) for seed in range(count)])


def weights_of(layer):
    return {name: each.detach() for name, each in layer.named_parameters()}


def outputs_of(layer, weights, *given, **marks):
    return functional_call(layer, weights, given, marks)[0]


@every_layer
@every_mark
def test_vmap_over_inputs(name, marks):
    layer, x = layer_of(name), several(3)
    mapped = vmap(lambda x: layer(x, **marks))(x)
    for number, each in enumerate(x):
        outputs, state = layer(each, **marks)
        close([leaf[number] for leaf in flat(mapped)], [outputs, *flat(state)])


@pytest.mark.parametrize("name", ["lstm", "reverse", "pair"])
def test_vmap_over_lengths_resets_and_states(name):
    layer, x = layer_of(name), several(2)
    lengths, resets = torch.stack([LENGTHS, LENGTHS.flip(0)]), torch.stack([RESETS, ~RESETS])
    states = [layer(each)[1] for each in several(2)]
    leaves = [torch.stack(pair) for pair in zip(*map(flat, states), strict=True)]

    def walk(x, lengths, resets, *leaves):
        return layer(x, nested(states[0], list(leaves)), lengths=lengths, resets=resets)[0]

    got = vmap(walk)(x, lengths, resets, *leaves)
    for number in range(2):
        expected, _ = layer(x[number], states[number], lengths=lengths[number], resets=resets[number])
        torch.testing.assert_close(got[number], expected)
    with pytest.raises(LengthsError, match="expected lengths between 0 and T=5, got 0 to 6"):
        vmap(lambda x, lengths: layer(x, lengths=lengths))(x, lengths + torch.tensor([[0], [1]]))


def nested(like, leaves):
    if isinstance(like, torch.Tensor):
        return leaves.pop(0)
    parts = [nested(each, leaves) for each in like]
    return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)


@every_layer
def test_vmap_over_weights_is_an_ensemble(name):
    layers, x = [layer_of(name, seed=seed) for seed in range(3)], some_input()
    weights, buffers = stack_module_state(layers)
    got = vmap(lambda w, b: outputs_of(layers[0], (w, b), x, lengths=LENGTHS))(weights, buffers)
    torch.testing.assert_close(got, torch.stack([each(x, lengths=LENGTHS)[0] for each in layers]))


@every_layer
def test_gradients_of_each_sample(name):
    layer, x = layer_of(name), some_input()
    weights = weights_of(layer)
    got = vmap(grad(lambda w, x: outputs_of(layer, w, x[None]).sin().sum()), (None, 0))(weights, x)
    for number in range(B):
        layer.zero_grad()
        layer(x[number, None])[0].sin().sum().backward()
        for key, weight in layer.named_parameters():
            torch.testing.assert_close(got[key][number], weight.grad)


@every_layer
def test_jacobians_agree(name):
    layer, x = layer_of(name), some_input(2, 3)
    expected = torch.autograd.functional.jacobian(lambda x: layer(x)[0], x)
    for got in (jacrev(lambda x: layer(x)[0])(x), jacfwd(lambda x: layer(x)[0])(x)):
        torch.testing.assert_close(got, expected)
    _, pushed = jvp(lambda x: layer(x)[0], (x,), (x,))
    torch.testing.assert_close(pushed, (expected * x).sum((-1, -2, -3)))
    _, linear = linearize(lambda x: layer(x)[0], x)
    torch.testing.assert_close(linear(x), pushed)


@every_row
@every_layer
def test_many_gradients_at_once(name, row):
    """`is_grads_batched`, and the vectorized Jacobian made with it: torch's own older vmap."""
    layer, x = layer_of(name, row), some_input().requires_grad_()
    outputs, _ = layer(x, lengths=LENGTHS, resets=RESETS)
    given = torch.stack([outputs.detach().cos(), outputs.detach().sin()])
    wanted = [x, *layer.parameters()]
    expected = [torch.autograd.grad(outputs, wanted, each, retain_graph=True) for each in given]
    got = torch.autograd.grad(outputs, wanted, given, is_grads_batched=True)
    close(got, [torch.stack(pair) for pair in zip(*expected, strict=True)])
    slow, fast = (
        torch.autograd.functional.jacobian(lambda x: layer(x)[0], x.detach(), vectorize=vectorize)
        for vectorize in (False, True)
    )
    torch.testing.assert_close(fast, slow)


@every_layer
def test_hessian(name):
    layer, x = layer_of(name), some_input(1, 3)
    got = hessian(lambda x: layer(x)[0].sin().sum())(x)
    expected = torch.autograd.functional.hessian(lambda x: layer(x)[0].sin().sum(), x)
    assert expected.any()
    torch.testing.assert_close(got, expected)


@every_row
@every_layer
def test_second_derivatives_are_numerically_right(name, row):
    layer = layer_of(name, row)
    x = some_input(2, 3).requires_grad_()
    marks = {"lengths": torch.tensor([3, 2]), "resets": RESETS[:2, :3]}
    assert torch.autograd.gradgradcheck(lambda x: layer(x, **marks)[0], x)


@every_row
def test_a_gradient_penalty_is_learned(row):
    """The outputs are asked not to depend on the input: a loss made of gradients, as in WGAN-GP."""
    layer, x = layer_of("lstm", row), some_input()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    penalties = []
    for _ in range(20):
        wanting = x.clone().requires_grad_()
        outputs, _ = layer(wanting, lengths=LENGTHS)
        (slope,) = torch.autograd.grad(outputs.sum(), wanting, create_graph=True)
        penalty = slope.square().sum()
        optimizer.zero_grad()
        penalty.backward()
        optimizer.step()
        penalties.append(penalty.item())
    assert penalties[-1] < penalties[0] / 2


def test_the_program_row_refuses_by_name():
    layer, x = layer_of("lstm", "program"), several(2)
    for transform, given in ((vmap, x), (grad, x[0]), (jacrev, x[0]), (jacfwd, x[0])):
        with pytest.raises(RowError, match="a transform of torch.func is at work"):
            transform(lambda x: layer(x)[0].sum())(given)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_torch_nn_has_no_vmap(kind):
    """What the page says of torch."""
    layers = [kind(I, 4, batch_first=True).double() for _ in range(2)]
    layer, x = layers[0], several(2)
    weights, _ = stack_module_state(layers)
    with pytest.raises(RuntimeError, match="Batching rule not implemented"):
        vmap(lambda x: layer(x)[0])(x)
    with pytest.raises(RuntimeError, match="Batching rule not implemented"):
        vmap(lambda w: outputs_of(layer, w, x[0]))(weights)
    with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
        vmap(grad(lambda w, x: outputs_of(layer, w, x[None]).sum()), (None, 0))(weights_of(layer), x[0])
    jacrev(lambda x: layer(x)[0])(x[0])
    jvp(lambda x: layer(x)[0], (x[0],), (x[0],))
    hessian(lambda x: layer(x)[0].sin().sum())(x[0])
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], x[0, :1, :2].requires_grad_())
