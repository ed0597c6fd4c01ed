"""torch.export and torch.jit: a file for any B and T, lengths and resets included."""

import io

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from ostinato.cells import LSTM
from ostinato.drivers import Recurrent
from tests.inside.layers import B, I, T, flat, layer_of, some_input

# Torch's own use of what it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROWS, TIME = Dim("rows", min=1, max=1024), Dim("time", min=1, max=4096)


class Tensors(nn.Module):
    """What is exported takes and returns tensors alone."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, lengths=None, resets=None):
        outputs, state = self.layer(x, lengths=lengths, resets=resets)
        return outputs, *flat(state)


def through_a_file(program):
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file).module()


def same(got, expected):
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["lstm", "pair", "nn"])
def test_any_batch_and_any_time(name):
    module = Tensors(layer_of(name))
    program = export(module, (some_input(),), dynamic_shapes={"x": {0: ROWS, 1: TIME}})
    loaded = through_a_file(program)
    for rows, time in ((1, 9), (4, 2), (2, 1)):
        x = some_input(rows, time)
        same(loaded(x), module(x))


def test_lengths_and_resets_are_exported_too():
    module = Tensors(layer_of("pair"))
    shapes = {"x": {0: ROWS, 1: TIME}, "lengths": {0: ROWS}, "resets": {0: ROWS, 1: TIME}}
    given = (some_input(), torch.tensor([5, 0, 3]), torch.zeros(B, T, dtype=torch.bool))
    loaded = through_a_file(export(module, given, dynamic_shapes=shapes))
    x, lengths = some_input(2, 8), torch.tensor([8, 3])
    resets = torch.arange(16).view(2, 8) % 3 == 0
    same(loaded(x, lengths, resets), module(x, lengths, resets))
    with pytest.raises(RuntimeError, match="expected lengths between 0 and T"):
        loaded(x, lengths + 1, resets)


def test_a_time_that_is_fixed_is_written_out():
    """Plain operations, which any runtime knows; only the batch is free."""
    module = Tensors(layer_of("lstm"))
    program = export(module, (some_input(),), dynamic_shapes={"x": {0: ROWS}})
    assert "scan" not in str(program.graph)
    x = some_input(7, T)
    same(through_a_file(program)(x), module(x))


def test_recompute_does_not_stand_in_the_way():
    layer = Recurrent(layer_of("gru").cell, recompute="sqrt")
    program = export(Tensors(layer), (some_input(),), dynamic_shapes={"x": {0: ROWS, 1: TIME}})
    x = some_input(2, 9)
    same(program.module()(x), Tensors(layer)(x))


@pytest.mark.filterwarnings("ignore:torch.compile is ignored when called inside torch.export region")
def test_strict_export_does_so_too():
    module = Tensors(layer_of("gru"))
    shapes = {"x": {0: ROWS, 1: TIME}}
    program = export(module, (some_input(),), dynamic_shapes=shapes, strict=True)
    x = some_input(2, 9)
    same(through_a_file(program)(x), module(x))


@pytest.mark.filterwarnings("ignore:torch.compile is ignored when called inside torch.export region")
def test_strict_export_with_lengths_runs_but_is_not_saved():
    module = Tensors(layer_of("gru"))
    shapes = {"x": {0: ROWS, 1: TIME}, "lengths": {0: ROWS}}
    given = (some_input(), torch.tensor([5, 0, 3]))
    program = export(module, given, dynamic_shapes=shapes, strict=True)
    x, lengths = some_input(2, 8), torch.tensor([8, 3])
    same(program.module()(x, lengths), module(x, lengths))
    with pytest.raises(Exception, match="Failed serializing node scan"):
        through_a_file(program)


@pytest.mark.filterwarnings("ignore:The tensor attributes self._flat_weights")
def test_torch_nn_exports_one_time():
    """What the page says of torch."""
    layer, x = nn.LSTM(I, 4, batch_first=True), torch.randn(2, 5, I)
    with pytest.raises(torch._dynamo.exc.UserError, match="specialized it to be a constant"):
        export(layer, (x,), dynamic_shapes=({0: ROWS, 1: TIME},))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_trace_is_for_one_time():
    """The plain loop, written out; a longer sequence is refused by what was traced."""
    layer = Recurrent(LSTM(I, 4)).double()
    traced = torch.jit.trace(layer, (some_input(),))
    x = some_input(7, T)
    same(traced(x)[:1], layer(x)[:1])
    with pytest.raises(RuntimeError):
        traced(some_input(B, T + 1))


def test_scripting_is_refused_by_torch():
    """TorchScript reads no function with arguments that have to be named."""
    with pytest.raises(torch.jit.frontend.NotSupportedError, match="keyword-only arguments"):
        torch.jit.script(Recurrent(LSTM(I, 4)))
