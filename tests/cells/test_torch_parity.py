"""Where torch.nn has the same cell: same numbers, same gradients."""

import pytest
import torch

from ostinato.cells import GRU, LSTM, Elman
from ostinato.drivers import Recurrent

I, H = 5, 7  # noqa: E741


def ours(cell, theirs):
    """Our cell with the weights of a torch layer."""
    W_x, W_h = theirs.weight_ih_l0.detach().T, theirs.weight_hh_l0.detach().T
    b_x, b_h = theirs.bias_ih_l0.detach(), theirs.bias_hh_l0.detach()
    weights = {"W_x": W_x, "W_h": W_h, "b": b_x + b_h}
    if isinstance(cell, GRU):  # torch's order is r, z, n too
        kept = torch.cat([b_h[: 2 * H], torch.zeros(H, dtype=b_h.dtype)])
        weights |= {"W_h": W_h[:, : 2 * H], "W_n": W_h[:, 2 * H :]}
        weights |= {"b": b_x + kept, "b_n": b_h[2 * H :]}
    cell = cell.double()
    cell.load_state_dict(weights)
    return Recurrent(cell)


@pytest.mark.parametrize(
    ("cell", "theirs"),
    [
        (Elman(I, H), torch.nn.RNN(I, H, batch_first=True)),
        (Elman(I, H, activation="relu"), torch.nn.RNN(I, H, nonlinearity="relu", batch_first=True)),
        (LSTM(I, H, forget_bias=0.0), torch.nn.LSTM(I, H, batch_first=True)),
        (GRU(I, H, reset_after=True), torch.nn.GRU(I, H, batch_first=True)),
    ],
    ids=["elman", "elman-relu", "lstm", "gru-reset-after"],
)
def test_equals_torch(cell, theirs):
    theirs = theirs.double()
    layer = ours(cell, theirs)
    x = torch.randn(3, 6, I, dtype=torch.float64, requires_grad=True)
    got, state = layer(x)
    expected, last = theirs(x)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(state.h, last[0][0] if isinstance(last, tuple) else last[0])
    probe = torch.randn_like(got)
    mine, its = (torch.autograd.grad((y * probe).sum(), x)[0] for y in (got, expected))
    torch.testing.assert_close(mine, its)


def test_an_unknown_activation_is_told():
    with pytest.raises(Exception, match=r'unknown activation "tahn"; did you mean "tanh"\?'):
        Elman(2, 3, activation="tahn")
