"""What the page says of torch.nn's own layers, where no other test here asks them."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint

from tests.inside.layers import B, I, close, flat, some_input

every_kind = pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])


def made(kind):
    torch.manual_seed(0)
    return kind(I, 4, batch_first=True).double()


def outcome(layer, x):
    """As `layers.outcome`, of a layer whose every weight has a gradient."""
    x = x.detach().clone().requires_grad_()
    outputs, last = layer(x)
    loss = outputs.real.sin().sum() + sum(each.real.cos().sum() for each in flat(last))
    return [each.detach() for each in (outputs, *torch.autograd.grad(loss, [x, *layer.parameters()]))]


@every_kind
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_one_kind_of_number(kind, dtype):
    assert {each.dtype for each in outcome(made(kind).to(dtype), some_input(dtype=dtype))} == {dtype}


@every_kind
def test_autocast(kind):
    layer = made(kind).float()
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = layer(some_input(dtype=torch.float32))
    outputs.float().sum().backward()
    assert layer.weight_hh_l0.grad.dtype == torch.float32


@every_kind
@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
def test_complex_weights(kind):
    layer = made(kind).to(torch.complex128)
    assert outcome(layer, torch.complex(some_input(), some_input()))[0].is_complex()


@every_kind
def test_devices(kind):
    layer, x = made(kind), some_input()
    assert outcome(copy.deepcopy(layer).to("meta"), x.to("meta"))[0].is_meta
    with torch.device("meta"):
        empty = kind(I, 4)
    empty.to_empty(device="cpu").reset_parameters()
    empty(torch.zeros(1, 1, I))
    strided = some_input(2 * B, 5)[::2]
    close(outcome(layer, strided), outcome(layer, strided.contiguous()))


@every_kind
def test_copies(kind):
    layer, other, x = made(kind), kind(I, 4, batch_first=True).double(), some_input()
    other.load_state_dict(layer.state_dict(), assign=True)
    for each in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        close(outcome(each, x), outcome(layer, x))


@every_kind
def test_weights_made_of_others(kind):
    for make in (
        lambda layer: prune.l1_unstructured(layer, "weight_hh_l0", 0.5),
        lambda layer: weight_norm(layer, "weight_hh_l0"),
        lambda layer: spectral_norm(layer, "weight_hh_l0"),
    ):
        layer, x = made(kind), some_input()
        make(layer)
        before = outcome(layer, x)
        with torch.no_grad():
            for each in layer.parameters():
                each.mul_(2)
        assert not torch.allclose(outcome(layer, x)[0], before[0])


@every_kind
def test_modes(kind):
    layer, x = made(kind), some_input()
    expected = outcome(layer, x)
    with torch.inference_mode():
        layer(x)
    got = outcome(under_checkpointing(layer), x)
    close(got, expected)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.autograd.set_detect_anomaly(True):
            close(outcome(layer, x), expected)
    finally:
        torch.use_deterministic_algorithms(False)
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda tensor: tensor):
        close(outcome(layer, x), expected)
    outputs, _ = layer(x)
    with torch.no_grad():
        layer.weight_hh_l0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


def under_checkpointing(layer):
    """The layer under activation checkpointing."""

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return checkpoint(self.layer, x, use_reentrant=False)

    return Checkpointed()


@every_kind
def test_many_gradients_at_once(kind):
    layer, x = made(kind), some_input().requires_grad_()
    outputs, _ = layer(x)
    given = torch.stack([outputs.detach(), outputs.detach().cos()])
    (got,) = torch.autograd.grad(outputs, x, given, is_grads_batched=True, retain_graph=True)
    for number in range(2):
        (alone,) = torch.autograd.grad(outputs, x, given[number], retain_graph=True)
        torch.testing.assert_close(got[number], alone)
