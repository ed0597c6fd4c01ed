"""The loops by hand are the cells that they stand for."""

import pytest
import torch

from ostinato.cells import GRU, LSTM, QRNN, SRU, SRU2, Elman, LayerNormLSTM, MinGRU
from ostinato.drivers import Recurrent
from ostinato.lab.bench.peers import loops
from ostinato.lab.bench.work import on_row
from ostinato.wrappers import Bidirectional, Stack
from plain import check_equal


@pytest.mark.parametrize(
    "make",
    [
        lambda i: Elman(i, 5),
        lambda i: LSTM(i, 5),
        lambda i: LSTM(i, 5, forget_bias=0.0),
        lambda i: LayerNormLSTM(i, 5),
        lambda i: GRU(i, 5),
        lambda i: GRU(i, 5, reset_after=True),
        lambda i: SRU(i, 5),
        lambda i: SRU(i, 5, highway=True),
        lambda i: SRU2(i, 5),
        lambda i: MinGRU(i, 5),
        lambda i: QRNN(i, 5),
    ],
)
def test_the_loops_are_the_cells(make):
    torch.manual_seed(0)
    both = Bidirectional(Recurrent(make(3)), Recurrent(make(3), reverse=True))
    encoder = Stack([both, Recurrent(make(10))])
    for each in encoder.parameters():
        torch.nn.init.normal_(each)
    encoder = on_row(encoder, "reference")
    x, gradient = torch.randn(4, 7, 3), torch.randn(4, 7, 5)
    check_equal(encoder, x, gradient, ours=lambda n, x: n(x)[0], theirs=loops.encoder)


def test_the_loop_of_an_sru_that_carries_its_input_past():
    layer, x = Recurrent(SRU2(5, 5), row="reference"), torch.randn(4, 7, 5)
    check_equal(layer, x, torch.randn(4, 7, 5), ours=lambda n, x: n(x)[0], theirs=loops.encoder)


def test_a_loop_that_is_wrong_is_found():
    layer = Recurrent(MinGRU(3, 5))
    x, gradient = torch.randn(4, 7, 3), torch.randn(4, 7, 5)
    with pytest.raises(AssertionError):
        check_equal(
            layer,
            x,
            gradient,
            ours=lambda n, x: n(x)[0],
            theirs=lambda n, x: loops.encoder(n, x.flip(1)),
        )
