"""A layer among modules: kinds of numbers, devices, copies, weights made of others, modes."""

import copy
import gc
import pickle

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

from ostinato.cells import CELLS, LSTM
from ostinato.drivers import Recurrent
from ostinato.errors import OptionError, RowError
from ostinato.programs import compiled
from tests.inside.layers import (
    LAYERS,
    LENGTHS,
    MARKS,
    RESETS,
    ROWS,
    B,
    I,
    T,
    close,
    flat,
    layer_of,
    outcome,
    some_input,
)

every_layer = pytest.mark.parametrize("name", LAYERS)
every_row = pytest.mark.parametrize("row", ROWS)
BOTH = MARKS["both"]


# Kinds of numbers.


@every_layer
def test_autocast_to_bf16(name):
    """Products in bf16, weights and their gradients in float32, near what float32 gives."""
    layer = layer_of(name, dtype=torch.float32)
    x = some_input(dtype=torch.float32)
    expected = outcome(layer, x, **BOTH)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, state = layer(x, **BOTH)
    assert outputs.dtype in (torch.bfloat16, torch.float32)
    assert all(each.dtype in (torch.bfloat16, torch.float32) for each in flat(state))
    loss = outputs.float().sin().sum() + sum(each.float().cos().sum() for each in flat(state))
    grads = torch.autograd.grad(loss, [*layer.parameters()])
    assert all(each.dtype == torch.float32 for each in grads)
    got = [outputs, *flat(state), *grads]
    del expected[1 + len(flat(state))]  # the gradient of x
    differ = False
    for a, b in zip(got, expected, strict=True):
        scale = max(1.0, float(b.abs().max()))
        torch.testing.assert_close(a.float(), b, rtol=0.05, atol=0.05 * scale)
        differ |= not torch.equal(a.float(), b)
    assert differ, "autocast was at work"


def test_autocast_is_not_for_a_named_program():
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RowError, match="autocast chooses"):
        layer_of("lstm", "program", dtype=torch.float32)(some_input(dtype=torch.float32))


@every_row
@every_layer
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_one_kind_of_number_throughout(name, row, dtype):
    got = outcome(layer_of(name, row, dtype=dtype), some_input(dtype=dtype), **BOTH)
    assert {each.dtype for each in got} == {dtype}
    same = layer_of(name, "reference", dtype=dtype).double()
    for a, b in zip(got, outcome(same, some_input(dtype=dtype).double(), **BOTH), strict=True):
        tolerance = {torch.bfloat16: 0.1, torch.float16: 0.02}.get(dtype, 1e-9)
        scale = max(1.0, float(b.abs().max()))
        torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=tolerance * scale)


@every_row
def test_default_dtype(row):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        layer = Recurrent(LSTM(I, 4), row=row)
        got = outcome(layer, torch.randn(B, T, I), **BOTH)
    finally:
        torch.set_default_dtype(before)
    assert {each.dtype for each in got} == {torch.float64}


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
def test_complex_weights():
    """Their slopes need conjugates, which no rule of a program knows."""
    layer = Recurrent(LSTM(I, 2)).to(torch.complex128)
    x = torch.complex(some_input(1, 2), some_input(1, 2, seed=3))
    names, weights = zip(*layer.named_parameters(), strict=True)

    def walk(*weights):
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x,))[0]

    given = [each.detach().requires_grad_() for each in weights]
    assert torch.autograd.gradcheck(walk, given)
    with pytest.raises(RowError, match="complex numbers have slopes of their own"):
        Recurrent(layer.cell, row="program")(x)


# Devices.


@pytest.mark.parametrize("row", ["auto", "reference"])
@every_layer
def test_a_meta_device_tells_shapes(name, row):
    layer, meta = layer_of(name, row), layer_of(name, row).to("meta")
    x = some_input()
    on_meta = {key: each.to("meta") for key, each in BOTH.items()}
    for got, each in zip(
        outcome(meta, x.to("meta"), **on_meta), outcome(layer, x, **BOTH), strict=True
    ):
        assert got.is_meta
        assert (got.shape, got.dtype) == (each.shape, each.dtype)


def test_the_program_row_needs_numbers():
    layer = layer_of("lstm", "program").to("meta")
    with pytest.raises(RowError, match="a meta tensor has a shape alone"):
        layer(some_input().to("meta"))


@pytest.mark.parametrize("cell", [name for name in CELLS if name != "conv_lstm"])
def test_made_on_meta_and_filled_later(cell):
    with torch.device("meta"):
        layer = Recurrent(CELLS[cell](4, 4))
    assert all(each.is_meta for each in layer.parameters())
    layer.to_empty(device="cpu")
    layer.cell.reset_parameters()
    assert torch.isfinite(layer(torch.randn(2, 3, 4))[0]).all()


@every_row
@every_layer
def test_the_default_device_may_be_another(name, row):
    """As with torch.set_default_device("cuda") and a layer on the CPU."""
    layer, x = layer_of(name, row), some_input()
    expected = outcome(layer, x, **BOTH)
    with torch.device("meta"):
        close(outcome(layer, x, **BOTH), expected)


# Copies and files.


@every_row
@every_layer
def test_copies_are_equal_and_apart(name, row, tmp_path):
    layer, x = layer_of(name, row), some_input()
    expected = outcome(layer, x, **BOTH)
    torch.save(layer, tmp_path / "layer.pt")
    loaded = torch.load(tmp_path / "layer.pt", weights_only=False)
    averaged = AveragedModel(layer)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded, averaged.module):
        close(outcome(other, x, **BOTH), expected)
        with torch.no_grad():
            next(other.parameters()).add_(1)
        assert not torch.equal(other(x)[0], layer(x)[0])


@every_row
@pytest.mark.parametrize("assign", [False, True])
@every_layer
def test_a_state_dict_goes_round(name, row, assign, tmp_path):
    layer, other, x = layer_of(name, row), layer_of(name, row, seed=5), some_input()
    other(x)
    safetensors.torch.save_file(layer.state_dict(), tmp_path / "weights.safetensors")
    weights = safetensors.torch.load_file(tmp_path / "weights.safetensors")
    other.load_state_dict(weights, assign=assign)
    close(outcome(other, x, **BOTH), outcome(layer, x, **BOTH))


@every_row
def test_functional_call_without_a_transform(row):
    layer, other, x = layer_of("lstm", row), layer_of("lstm", row, seed=5), some_input()
    weights = dict(other.named_parameters())
    got = torch.func.functional_call(layer, weights, (x,), BOTH)
    grads = torch.autograd.grad(got[0].sin().sum(), weights.values())
    expected = other(x, **BOTH)
    close([got[0], *got[1]], [expected[0], *expected[1]], rtol=0, atol=0)
    close(grads, torch.autograd.grad(expected[0].sin().sum(), weights.values()), rtol=0, atol=0)


# Weights that are made of others.


class Halved(nn.Module):
    def forward(self, weight):
        return weight / 2


MADE = {
    "parametrize": lambda cell: parametrize.register_parametrization(cell, "W_h", Halved()),
    "weight norm": lambda cell: weight_norm(cell, "W_h"),
    "orthogonal": lambda cell: orthogonal(cell, "W_h"),
    "prune": lambda cell: prune.l1_unstructured(cell, "W_h", 0.5),
}


@every_row
@pytest.mark.parametrize("how", MADE)
def test_weights_made_of_others(how, row):
    """On every row, trained too, before and after; never with a weight of before."""
    plain = layer_of("lstm", row)
    layer, reference = (Recurrent(plain.cell, row=each) for each in (row, "reference"))
    x = some_input()
    before = layer(x)[0]
    MADE[how](layer.cell)
    assert all(each.any() for each in outcome(layer, x)[3:])
    for _ in range(2):
        close(outcome(layer, x, **BOTH), outcome(reference, x, **BOTH))
        with torch.no_grad():
            for each in layer.parameters():
                each.mul_(0.9)
    assert not torch.allclose(layer(x)[0], before)


@every_row
def test_what_is_pruned_stays_so_while_the_rest_learns(row):
    """Torch's pruning hangs on the cell as a hook, which drivers call once for all steps."""
    layer, x = layer_of("lstm", row), some_input()
    prune.l1_unstructured(layer.cell, "W_h", 0.5)
    mask = layer.cell.W_h_mask.bool()
    before = layer(x)[0]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        layer(x)[0].square().sum().backward()
        optimizer.step()
    after = layer(x)[0]
    assert not torch.allclose(after, before)
    assert torch.equal(layer.cell.W_h != 0, mask)
    torch.testing.assert_close(layer.cell.W_h, layer.cell.W_h_orig * mask)
    prune.remove(layer.cell, "W_h")
    torch.testing.assert_close(layer(x)[0], after)


def test_a_hook_that_changes_what_a_cell_is_given():
    layer = layer_of("lstm")
    layer.cell.register_forward_pre_hook(lambda cell, given: (given[0] * 2, *given[1:]))
    with pytest.raises(OptionError, match="LSTM: expected a forward pre-hook that changes nothing of"):
        layer(some_input())


def test_a_weight_that_changes_at_each_step_is_the_references():
    """Spectral norm iterates at each reading of the weight, unless torch is told to read it once."""
    layer = layer_of("lstm")
    spectral_norm(layer.cell, "W_h")
    kept = {name: each.clone() for name, each in layer.named_buffers()}
    x = some_input()
    with pytest.raises(RowError, match="the step changes a buffer of the cell, each time anew"):
        Recurrent(layer.cell, row="program")(x)
    assert all(torch.equal(each, kept[name]) for name, each in layer.named_buffers())
    layer(x)[0].sum().backward()
    layer.eval()
    close(outcome(Recurrent(layer.cell, row="program"), x), outcome(layer, x))


# Memory, modes, hooks.


@every_row
@every_layer
@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing(name, row, reentrant, monkeypatch):
    """The step is looked at in the first of the two passes alone, and that must not show."""
    monkeypatch.setattr(compiled, "_KNOWN", {})
    layer, x = layer_of(name, row), some_input()

    def loss(run):
        wanting = x.clone().requires_grad_()
        layer.zero_grad()
        run(wanting).sin().sum().backward()
        return [wanting.grad, *(each.grad for each in layer.parameters())]

    got = loss(lambda x: checkpoint(lambda x: layer(x, **BOTH)[0], x, use_reentrant=reentrant))
    close(got, loss(lambda x: layer(x, **BOTH)[0]), rtol=0, atol=0)


@every_row
def test_where_hooks_on_saved_tensors_are_forbidden(row, monkeypatch):
    monkeypatch.setattr(compiled, "_KNOWN", {})
    layer, x = layer_of("lstm", row), some_input()
    with torch.autograd.graph.disable_saved_tensors_hooks("none here"):
        got = outcome(layer, x, **BOTH)
    close(got, outcome(layer, x, **BOTH), rtol=0, atol=0)


TOLD = "modified by an inplace operation|has been modified inplace"


@every_row
@every_layer
def test_a_weight_changed_before_the_backward_pass_is_told(name, row):
    layer = layer_of(name, row)
    outputs, _ = layer(some_input().requires_grad_(), **BOTH)
    with torch.no_grad():
        for each in layer.parameters():
            each.add_(1)
    with pytest.raises(RuntimeError, match=TOLD):
        outputs.sin().sum().backward()


@every_row
@pytest.mark.parametrize("name", [name for name in LAYERS if name not in ("reverse", "pair")])
def test_an_input_changed_before_the_backward_pass_is_told(name, row):
    """Where it is read as it is; a copy, as of what is read in reverse, cannot be spoilt."""
    layer, x = layer_of(name, row), some_input()
    outputs, _ = layer(x)
    x.add_(1)
    with pytest.raises(RuntimeError, match=TOLD):
        outputs.sin().sum().backward()


@every_row
def test_the_first_call_may_be_in_inference_mode(row):
    """A server's: the layer is traced there, and trained later."""
    layer = Recurrent(LSTM(7, 11), row=row)
    x = torch.randn(2, 3, 7)
    with torch.inference_mode():
        outputs, state = layer(x)
        layer(x, state)
    torch.testing.assert_close(layer(x)[0].detach(), outputs.clone())
    layer(x)[0].sum().backward()


def test_a_layer_made_in_inference_mode_runs_there():
    with torch.inference_mode():
        layer = Recurrent(LSTM(7, 12))
        assert layer(torch.randn(2, 3, 7))[0].shape == (2, 3, 12)
        with pytest.raises(RowError, match="its weights were made in inference mode"):
            Recurrent(layer.cell, row="program")(torch.randn(2, 3, 7))


@every_row
def test_hooks_are_those_of_the_layer(row):
    """Drivers call a cell's step, not the cell: its hooks see one-step calls alone."""
    layer, called = layer_of("lstm", row), []
    layer.register_forward_hook(lambda *_: called.append("layer"))
    layer.register_full_backward_hook(lambda *_: called.append("backwards"))
    layer.cell.register_forward_hook(lambda *_: called.append("cell"))
    layer(some_input().requires_grad_())[0].sum().backward()
    assert called == ["layer", "backwards"]
    layer.cell(some_input()[:, 0])
    assert called[2:] == ["cell"]


@every_row
@every_layer
def test_deterministic_algorithms_and_anomaly_mode(name, row):
    layer, x = layer_of(name, row), some_input()
    expected = outcome(layer, x, **BOTH)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.autograd.set_detect_anomaly(True, check_nan=True):
            close(outcome(layer, x, **BOTH), expected, rtol=0, atol=0)
    finally:
        torch.use_deterministic_algorithms(False)


def test_anomaly_mode_is_quiet_about_padding():
    """NaN in the padding reaches no gradient."""
    layer, x = layer_of("lstm"), some_input()
    x[torch.arange(T) >= LENGTHS[:, None]] = torch.nan
    with torch.autograd.set_detect_anomaly(True, check_nan=True):
        assert all(torch.isfinite(each).all() for each in outcome(layer, x, **BOTH))


@every_row
def test_saved_tensors_may_wait_elsewhere(row):
    """Hooks on saved tensors, as those that keep activations on the host."""
    layer, x = layer_of("lstm", row), some_input()
    packed = []
    pack = lambda tensor: packed.append(tensor.shape) or tensor.clone()  # noqa: E731
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        got = outcome(layer, x, **BOTH)
    assert packed
    close(got, outcome(layer, x, **BOTH), rtol=0, atol=0)


@every_row
def test_a_second_backward_pass_needs_a_kept_graph(row):
    layer, x = layer_of("lstm", row), some_input()
    outputs, _ = layer(x)
    outputs.sum().backward(retain_graph=True)
    outputs.sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        outputs.sum().backward()


def tensors():
    gc.collect()
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


@every_row
def test_nothing_is_held_once_a_graph_is_gone(row):
    layer, x = layer_of("lstm", row), some_input()
    outputs, _ = layer(x)
    outputs.sum().backward()
    del outputs
    known = tensors()
    for _ in range(3):
        outputs, state = layer(x, lengths=LENGTHS, resets=RESETS)
        outputs.sum().backward()
    del outputs, state
    assert tensors() <= known + 2


@every_row
@every_layer
def test_expanded_and_strided_inputs(name, row):
    layer = layer_of(name, row)
    whole = some_input(B, 2 * T)
    for x in (whole[:, ::2], whole[:1, :T].expand(B, -1, -1), whole.transpose(0, 1)[:B, :B]):
        marks = {"lengths": LENGTHS.clamp(max=x.shape[1])}
        close(outcome(layer, x, **marks), outcome(layer, x.contiguous(), **marks))
