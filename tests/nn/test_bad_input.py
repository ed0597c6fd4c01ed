"""What does not fit is said: expected, got, remedy."""

import re

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from ostinato import nn
from ostinato.cells import MinGRU
from ostinato.errors import KindError, LengthsError, OptionError, RowError, ShapeError, StateError

X = torch.zeros(5, 2, 3)
H0 = torch.zeros(1, 2, 4)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (
            lambda: nn.LSTM(3, 4, peephole=True),
            OptionError,
            'no option "peephole"; did you mean "peepholes"?',
        ),
        (
            lambda: nn.SRU(3, 4, num_layer=2),
            OptionError,
            'SRU: there is no option "num_layer"; did you mean',
        ),
        (
            lambda: nn.SRU(3, 4, bias=False),
            OptionError,
            "SRU: its cell has biases of its own, so bias=False",
        ),
        (
            lambda: nn.LSTM(3, 4, projection=2),
            OptionError,
            "the width of a projection is proj_size here",
        ),
        (lambda: nn.LSTM(3, 4, proj_size=4), OptionError, "or less than hidden_size=4, got 4"),
        (lambda: nn.LSTM(3, 4, proj_size=-1), OptionError, "or less than hidden_size=4, got -1"),
        (
            lambda: nn.LSTM(3, 4, bias=False, forget_bias_stored=True),
            OptionError,
            "forget_bias_stored=True keeps the forget bias among the biases, and bias=False says that",
        ),
        (lambda: nn.LSTM(3, 4, projection_clip=1.0), OptionError, "and there is none"),
        (
            lambda: nn.RNN(3, 4, activation="relu"),
            OptionError,
            "RNN: the activation is called nonlinearity",
        ),
        (lambda: nn.RNN(3, 4, nonlinearity="rellu"), OptionError, 'did you mean "relu"?'),
        (
            lambda: nn.RNN(3, 4, nonlinearity=torch.nn.PReLU()),
            OptionError,
            "activation has weights of its own",
        ),
        (lambda: nn.GRU(3, 4, row="fast"), OptionError, 'There is no row "fast"'),
        (lambda: nn.GRU(3, 4, recompute=0), OptionError, "expected recompute to be None"),
        (lambda: nn.GRU(3, 4, bidirectional=2), KindError, "bidirectional is True or False, got 2"),
        (
            lambda: nn.GRU(3, 4, learn_initial_state=1),
            KindError,
            "learn_initial_state is True or False",
        ),
        (lambda: nn.GRU(3, True), KindError, "hidden_size is a whole number, got True"),
    ],
)
def test_options(make, kind, words):
    with pytest.raises(kind, match=re.escape(words)):
        make()


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: nn.GRU(3, 4)([X]), KindError, "expected a tensor or a PackedSequence, got list"),
        (
            lambda: nn.GRU(3, 4)(X[..., :2]),
            ShapeError,
            "[T, B, I=3], or [T, I=3] for one sequence",
        ),
        (
            lambda: nn.GRU(3, 4, batch_first=True)(X[..., :2]),
            ShapeError,
            "expected x of shape [B, T, I=3]",
        ),
        (
            lambda: nn.GRU(3, 4)(pack_sequence([torch.zeros(2, 4)])),
            ShapeError,
            "expected a PackedSequence of steps [I=3], got data of shape [2, 4]",
        ),
        (
            lambda: nn.GRU(3, 4)(pack_sequence([X[:, 0]]), lengths=[5]),
            OptionError,
            "a PackedSequence knows its lengths; give it without lengths=, or the padded tensor",
        ),
        (lambda: nn.GRU(3, 4)(X, lengths=torch.tensor([5])), LengthsError, "integers of shape [B=2]"),
        (lambda: nn.GRU(3, 4)(X, lengths=[5, 6]), LengthsError, "expected lengths between 0 and T=5"),
        (
            lambda: nn.GRU(3, 4)(X[:, 0], lengths=[5]),
            LengthsError,
            "expected one number as the length of one sequence alone, got lengths of shape [1]",
        ),
        (
            lambda: nn.GRU(3, 4)(X, resets=torch.zeros(2, 5, dtype=torch.bool)),
            LengthsError,
            "expected resets as bool of shape [T, B] = [5, 2], got torch.bool of shape [2, 5]",
        ),
        (
            lambda: nn.GRU(3, 4)(X[:, 0], resets=torch.zeros(5)),
            LengthsError,
            "expected resets as bool of shape [T] = [5], got torch.float32 of shape [5]",
        ),
        (
            lambda: nn.GRU(3, 4)(pack_sequence([X[:, 0]]), resets=torch.zeros(2, dtype=torch.bool)),
            LengthsError,
            "expected resets as bool of shape [T, B] = [5, 1], got torch.bool of shape [2]",
        ),
        (lambda: nn.GRU(3, 4)(X, (H0,)), StateError, "GRU: expected h_0 of shape [1, B=2, 4]"),
        (lambda: nn.GRU(3, 4)(X, 1), StateError, "layers and directions first, got int"),
        (lambda: nn.LSTM(3, 4)(X, H0), StateError, "expected a state (h_0, c_0), got [1, 2, 4]"),
        (lambda: nn.LSTM(3, 4)(X, (H0,)), StateError, "expected a state (h_0, c_0), got ([1, 2, 4])"),
        (lambda: nn.LRU(3, 4)(X, H0), StateError, "LRU: expected a state (re_0, im_0), got [1, 2, 4]"),
        (
            lambda: nn.QRNN(3, 4, 2, window=2)(X, (torch.zeros(2, 2, 4), torch.zeros(2, 2, 4))),
            StateError,
            "expected x_prev_0 as a tuple of 2 tensors [1, B=2, width], of widths 3, 4, got [2, 2, 4]",
        ),
        (lambda: nn.GRU(3, 4)(X, H0.double()), TypeError, "expected state.h in torch.float32"),
        (
            lambda: nn.GRU(3, 4).step(X),
            ShapeError,
            "GRU: one step takes x_t of shape [B, I=3], or [I=3]",
        ),
        (
            lambda: nn.GRU(3, 4, bidirectional=True).step(X[0]),
            OptionError,
            "GRU: expected a layer in one direction, got bidirectional=True",
        ),
        (
            lambda: torch.func.vmap(nn.GRU(3, 4, row="program"), 1)(X),
            RowError,
            'the row "program" cannot run this call: a transform of torch.func',
        ),
    ],
)
def test_calls(call, kind, words):
    with pytest.raises(kind, match=re.escape(words)):
        call()


def test_a_cell_with_buffers():
    class Counting(MinGRU):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            self.register_buffer("seen", torch.zeros(()))

    class CountingLayers(nn.RecurrentLayers):
        cell_type = Counting

    with pytest.raises(OptionError, match="got Counting with the buffers seen. Make a Stack of"):
        CountingLayers(3, 4)


def test_a_packed_sequence_of_other_things():
    packed = PackedSequence(torch.zeros(3), torch.tensor([2, 1]))
    with pytest.raises(ShapeError, match=r"got data of shape \[3\]"):
        nn.LSTM(3, 4)(packed)
