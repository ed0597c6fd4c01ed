"""Changing one import changes nothing: torch.nn's names, first weights, numbers and gradients."""

from itertools import product

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from ostinato import nn

MODES = ("LSTM", "GRU", "RNN")
I, H, B, T = 3, 5, 4, 6  # noqa: E741
LENGTHS = torch.tensor([2, 6, 1, 4])

every_mode = pytest.mark.parametrize("mode", MODES)
every_row = pytest.mark.parametrize("row", ["reference", "program"])


def cases():
    for mode, layers, bias, both in product(MODES, (1, 2), (True, False), (False, True)):
        options = {"num_layers": layers, "bias": bias, "bidirectional": both}
        yield mode, options
        if mode == "LSTM":
            yield mode, options | {"proj_size": 2}
        if mode == "RNN":
            yield mode, options | {"nonlinearity": "relu"}


every_case = pytest.mark.parametrize(("mode", "options"), list(cases()), ids=str)


def pair(mode, dtype=torch.float64, row="auto", **options):
    """Torch's layer and ours, with the same weights."""
    theirs = getattr(torch.nn, mode)(I, H, dtype=dtype, **options)
    ours = getattr(nn, mode)(I, H, dtype=dtype, row=row, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def flat(state):
    return list(state) if isinstance(state, tuple) else [state]


def everything(layer, x, hx):
    """Outputs, states, and the gradient of every weight, of x and of hx."""
    leaves = [(x.data if isinstance(x, PackedSequence) else x), *([] if hx is None else flat(hx))]
    leaves = [each.detach().requires_grad_() for each in leaves]
    x = PackedSequence(leaves[0], *x[1:]) if isinstance(x, PackedSequence) else leaves[0]
    hx = hx if hx is None else tuple(leaves[1:]) if isinstance(hx, tuple) else leaves[1]
    output, state = layer(x, hx)
    if isinstance(output, PackedSequence):
        assert torch.equal(output.batch_sizes, x.batch_sizes)
        assert output.sorted_indices is x.sorted_indices
        assert output.unsorted_indices is x.unsorted_indices
        output = output.data
    assert isinstance(state, tuple) == isinstance(layer, torch.nn.LSTM | nn.LSTM)
    loss = output.sin().sum() + sum((each * (n + 2)).cos().sum() for n, each in enumerate(flat(state)))
    gradients = torch.autograd.grad(loss, [*leaves, *layer.parameters()])
    return [output, *flat(state), *gradients]


def some_state(theirs, *rows):
    count = theirs.num_layers * (2 if theirs.bidirectional else 1)
    h = torch.randn(count, *rows, theirs.proj_size or H, dtype=torch.float64)
    c = torch.randn(count, *rows, H, dtype=torch.float64)
    return (h, c) if isinstance(theirs, torch.nn.LSTM) else h


def agree(theirs, ours, x, hx=None):
    for a, b in zip(everything(ours, x, hx), everything(theirs, x, hx), strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@every_row
@every_case
def test_the_same_numbers(mode, options, row):
    for batch_first in (False, True):
        theirs, ours = pair(mode, row=row, batch_first=batch_first, **options)
        x = torch.randn(*((B, T) if batch_first else (T, B)), I, dtype=torch.float64)
        agree(theirs, ours, x)
        agree(theirs, ours, x, some_state(theirs, B))


@every_row
@every_case
def test_the_same_numbers_of_packed_sequences(mode, options, row):
    for batch_first, lengths in product((False, True), (LENGTHS, LENGTHS.sort(descending=True)[0])):
        theirs, ours = pair(mode, row=row, batch_first=batch_first, **options)
        x = torch.randn(*((B, T) if batch_first else (T, B)), I, dtype=torch.float64)
        packed = pack_padded_sequence(x, lengths, batch_first, enforce_sorted=lengths is not LENGTHS)
        agree(theirs, ours, packed)
        agree(theirs, ours, packed, some_state(theirs, B))


@every_row
@every_case
def test_the_same_numbers_of_one_sequence(mode, options, row):
    theirs, ours = pair(mode, row=row, **options)
    x = torch.randn(T, I, dtype=torch.float64)
    agree(theirs, ours, x)
    agree(theirs, ours, x, some_state(theirs))


@every_mode
def test_float32_and_bfloat16(mode):
    """As near to the numbers of float64 as torch is."""
    theirs, ours = pair(mode, num_layers=2, bidirectional=True)
    x = torch.randn(T, B, I, dtype=torch.bfloat16)
    exact = theirs(x.double())[0]
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 2e-2)):
        for layer in (theirs, ours):
            output = layer.to(dtype)(x.to(dtype))[0]
            assert output.dtype == dtype
            error = (output.double() - exact).abs().max().item()
            assert error < tolerance


@every_case
def test_the_same_names_and_first_weights(mode, options):
    made = []
    for kind in (torch.nn, nn):
        torch.manual_seed(7)
        made.append(getattr(kind, mode)(I, H, **options))
    theirs, ours = made
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for (name, a), (other, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(a, b)
    for a, b in zip(ours.all_weights, theirs.all_weights, strict=True):
        assert all(map(torch.equal, a, b))
    torch.manual_seed(8)
    ours.reset_parameters()
    torch.manual_seed(8)
    theirs.reset_parameters()
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    theirs.load_state_dict(ours.state_dict())


@every_row
@every_mode
def test_the_same_masks(mode, row):
    """Torch draws a mask for [T, B, H] between two layers, or for packed rows; so is it here."""
    theirs, ours = pair(mode, row=row, num_layers=3, bidirectional=True, dropout=0.4)
    x = torch.randn(T, B, I, dtype=torch.float64)
    for given in (x, pack_padded_sequence(x, LENGTHS, enforce_sorted=False)):
        outputs = []
        for layer in (ours, theirs):
            torch.manual_seed(3)
            outputs.append(layer(given)[0])
        torch.testing.assert_close(*(each.data for each in outputs), rtol=1e-9, atol=1e-9)


@every_mode
def test_positional_arguments(mode):
    """All of them, in torch's order."""
    given = [I, H, 2, *(["relu"] if mode == "RNN" else []), False, True, 0.5, True]
    given += [2] if mode == "LSTM" else []
    theirs, ours = (getattr(kind, mode)(*given) for kind in (torch.nn, nn))
    assert str(ours).replace(", nonlinearity='relu'", "").replace(", proj_size=2", "") == str(
        theirs
    ).replace("proj_size=2, ", "")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name in ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert (ours.bidirectional, ours.proj_size) == (theirs.bidirectional, theirs.proj_size)


@every_mode
def test_a_model_learns_the_same(mode):
    """Ten steps of Adam, from the same seed on the same batches."""
    losses = []
    for kind in (torch.nn, nn):
        torch.manual_seed(1)
        layer = getattr(kind, mode)(I, H, 2, dropout=0.2, batch_first=True).double()
        head = torch.nn.Linear(H, 1).double()
        optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.05)
        told = []
        for _ in range(10):
            x = torch.randn(B, T, I, dtype=torch.float64)
            loss = (head(layer(x)[0][:, -1]) - x.sum((1, 2), keepdim=False)[:, None]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            told.append(loss.detach())
        losses.append(torch.stack(told))
    torch.testing.assert_close(*losses, rtol=1e-6, atol=1e-6)
    assert losses[0][-1] != losses[0][0]
