"""One call on one row, and everything that comes of it: what rows are compared by."""

import copy
from unittest import mock

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ostinato.drivers import Recurrent
from ostinato.kernels import native
from ostinato.programs import run as programs
from tests.contract.tolerances import TOLERANCES


def small_blocks(numbers=1):
    """Blocks of so many numbers, which are a single step of a single row at 1."""
    names = "WALKED", "SCANNED", "TILED", "FEW_GRADIENTS", "GRADIENTS", "GRADIENT_ROWS"
    few = dict.fromkeys(names, numbers)
    return mock.patch.multiple(programs, **few)


def waves(like):
    """Fixed numbers, all different, to weigh a result by."""
    numbers = torch.arange(like.numel(), dtype=torch.float64) * 0.7 + 0.3
    return numbers.cos().to(like.dtype).view(like.shape)


def weighed(outputs, state):
    """One number of all results, in which each counts differently."""
    return sum((each * waves(each)).sum() for each in (outputs, *state))


def everything(cell, row, x, state=None, *, reverse=False, recompute=None, packed=False, **marks):
    """Outputs, last state, and the gradient of whatever wants one, by name."""
    x = x.detach().clone().requires_grad_(x.requires_grad)
    named = {"x": x} | dict(cell.named_parameters())
    if state is not None:
        state = type(state)(*(s.detach().clone().requires_grad_(s.requires_grad) for s in state))
        named |= {f"state.{name}": each for name, each in state._asdict().items()}
    wanted = {name: each for name, each in named.items() if each.requires_grad}
    layer = Recurrent(cell, reverse, row=row, recompute=recompute)
    outputs, last = (called_packed if packed else Recurrent.__call__)(layer, x, state, **marks)
    got = {"outputs": outputs, **{f"last {name}": each for name, each in last._asdict().items()}}
    total = weighed(outputs, last)
    grads = [None] * len(wanted)
    if wanted and total.requires_grad:
        grads = torch.autograd.grad(total, wanted.values(), allow_unused=True)
    for (name, each), grad in zip(wanted.items(), grads, strict=True):
        got[f"gradient of {name}"] = torch.zeros_like(each) if grad is None else grad
    return {name: each.detach() for name, each in got.items()}


def called_packed(layer, x, state, lengths, **marks):
    """The same of a PackedSequence, and padded again."""
    given = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    outputs, last = layer(given, state, **marks)
    return pad_packed_sequence(outputs, batch_first=True, total_length=x.shape[1])[0], last


def rows_agree(cell, x, state=None, **options):
    """The program row gives what the reference gives, and the native row if it can; returns that."""
    expected = everything(cell, "reference", x, state, **options)
    same(everything(cell, "program", x, state, **options), expected)
    if native.why_not(cell) is None:
        same(everything(*in_float32(cell, "native", x, state), **options), expected, torch.float32)
    return expected


def in_float32(cell, row, x, state=None):
    """The arguments of `everything`, in the kind of number that the native row has."""
    cell, x = copy.deepcopy(cell).float(), x.detach().float().requires_grad_(x.requires_grad)
    if state is not None:
        state = type(state)(
            *(
                each.detach().float().requires_grad_(each.requires_grad)
                if each.is_floating_point()
                else each
                for each in state
            )
        )
    return cell, row, x, state


def same(got, expected, dtype=None, equal_nan=False):
    """At the tolerance of a kind of number, that of what is expected if none is named."""
    assert got.keys() == expected.keys()
    for name, each in expected.items():
        rtol, atol = TOLERANCES[dtype if dtype and each.is_floating_point() else each.dtype]
        # A sum of many terms is known to a part of the largest, not of itself.
        atol *= max(1.0, float(each.abs().nan_to_num(0, 0, 0).max())) if each.numel() else 1.0
        torch.testing.assert_close(
            got[name].to(each.dtype),
            each,
            rtol=rtol,
            atol=atol,
            equal_nan=equal_nan,
            msg=lambda m, name=name: f"{name}: {m}",
        )


def randomise(cell, seed, scale=0.5, dtype=torch.float64):
    """Random weights, biases too."""
    generator = torch.Generator().manual_seed(seed)
    cell = cell.to(dtype)
    with torch.no_grad():
        for weight in cell.parameters():
            weight.copy_(_normal(generator, weight.shape) * scale)
    return cell


def draw(seed, *shape, dtype=torch.float64):
    return _normal(torch.Generator().manual_seed(seed), shape).to(dtype)


def _normal(generator, shape):
    """Random numbers that float32 has too, so that each row is given the same ones."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64).float().double()


def some_state(cell, batch, seed, grad=True, dtype=torch.float64):
    """Random, and different in every field and row."""
    shapes, counts = cell.state_shapes, [field in cell.counters for field in cell.State._fields]
    fields = [draw(seed + n, batch, *shape, dtype=dtype) for n, shape in enumerate(shapes)]
    return cell.State(
        *(
            (each * 1000).long() if whole else each.requires_grad_(grad)
            for each, whole in zip(fields, counts, strict=True)
        )
    )


def floating(tensors):
    """Those that are not counters."""
    return [each for each in tensors if each.is_floating_point()]
