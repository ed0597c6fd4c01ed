"""Layers in torch's form beside what torch does to modules: compilers, transforms, replicas."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from ostinato import states
from tests.nn.test_layers import B, I, T, close, draw, every_layer, layer_of

SOME = ["lstm-projected", "gru", "rnn", "sru", "qrnn-window", "lru"]
some_layers = pytest.mark.parametrize("name", SOME)
graphed_layers = pytest.mark.parametrize("name", ["lstm-projected", "gru", "qrnn-window"])


@pytest.fixture(autouse=True)
def nothing_compiled():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@graphed_layers
def test_compiled_as_one_graph(name):
    """Torch's own layers make its compiler give up."""
    layer = layer_of(name, bidirectional=True, learn_initial_state=True)
    x, lengths, resets = draw(B, T, I), torch.tensor([4, 0, 6]), torch.rand(B, T) < 0.3
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for marks in ({}, {"lengths": lengths, "resets": resets}):
        got, expected = compiled(x, **marks), layer(x, **marks)
        close(got, expected)
        wanted = list(layer.parameters())
        close(*(tuple(torch.autograd.grad(each[0].sin().sum(), wanted)) for each in (got, expected)))


@some_layers
def test_a_step_compiled(name):
    layer, x = layer_of(name), draw(B, I)
    compiled = torch.compile(layer.step, backend="eager", fullgraph=True)
    output, state = compiled(x)
    close((output, state), layer.step(x))
    state = states.detach(state)
    close(compiled(x, state), layer.step(x, state))


@graphed_layers
def test_exported_for_any_batch_and_time(name):
    layer = layer_of(name, bidirectional=True, learn_initial_state=True)
    dims = {0: torch.export.Dim("B", max=64), 1: torch.export.Dim("T", max=512)}
    program = torch.export.export(layer, (draw(B, T, I),), dynamic_shapes=(dims,)).module()
    for shape in ((B, T), (5, 2), (2, 9)):
        x = draw(*shape, I)
        close(program(x), layer(x))


@every_layer
def test_gradients_of_each_sample(name):
    layer, x = layer_of(name), draw(B, T, I)
    weights = {key: each.detach() for key, each in layer.named_parameters()}

    def loss(weights, row):
        return torch.func.functional_call(layer, weights, (row,))[0].sin().sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, x)
    for n in range(B):
        alone = torch.autograd.grad(loss(dict(layer.named_parameters()), x[n]), layer.parameters())
        close(tuple(gradient[n] for gradient in each.values()), alone)


@every_layer
def test_a_replica(name):
    """What DataParallel makes: a copy whose weights are plain tensors with a history."""
    layer, x = layer_of(name), draw(B, T, I)
    replica = layer._replicate_for_data_parallel()
    for key, weight in layer.named_parameters():
        setattr(replica, key, weight * 1.0)
    close(replica(x), layer(x))
    replica(x)[0].sum().backward()
    assert all(weight.grad is not None for weight in layer.parameters())


@some_layers
def test_many_threads_one_layer(name):
    """Each lends other weights to the same layer."""
    layer, x = layer_of(name), draw(B, T, I)
    others = [layer_of(name, seed=n) for n in range(8)]

    def called(other):
        with torch.no_grad():
            return [layer(x)[0], other(x)[0], layer.step(x[:, 0])[0]]

    with torch.no_grad():
        expected = [called(other) for other in others]
        with ThreadPoolExecutor(4) as pool:
            for got, alone in zip(pool.map(called, others * 4), expected * 4, strict=True):
                assert all(map(torch.equal, got, alone))


@some_layers
def test_inference_mode(name):
    layer, x = layer_of(name), draw(B, T, I)
    with torch.inference_mode():
        output, state = layer(x)
        output, state = layer(x, state)
    assert output.is_inference()
    layer(x)[0].sum().backward()
