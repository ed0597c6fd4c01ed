"""Cells that torch.nn does not have: with layer norm, and one that this library has never seen."""

from typing import NamedTuple

import torch
from torch import Tensor, nn, sigmoid, tanh

from ostinato.cells import Cell, LayerNormLSTM
from ostinato.drivers import Recurrent
from ostinato.lab.bench.cases.training import TORCHS_LSTM
from ostinato.lab.bench.harness import Entrant, Race, Side
from ostinato.lab.bench.peers import loops
from ostinato.lab.bench.sides import ours, trained, with_other
from ostinato.lab.bench.work import Sizes, Work
from ostinato.wrappers import Stack


class LeakyState(NamedTuple):
    """What a `Coupled` remembers."""

    h: Tensor
    c: Tensor


class Coupled(Cell):
    """An LSTM with coupled gates, peepholes and a clipped memory, as its user would write it.

        f, g, o = x W_x + h W_h + b
        f = σ(f + p_f ∘ c),  c' = f ∘ c + (1 − f) ∘ tanh(g) held to ±1
        h' = σ(o + p_o ∘ c') ∘ tanh(c')                             output = h'

    Weights: `W_x [I, 3H]`, `W_h [H, 3H]`, `b [3H]` in the order f, g, o; `p_f`, `p_o` `[H]`.
    """

    State = LeakyState

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        I, H = input_size, hidden_size  # noqa: E741
        self.W_x = nn.Parameter(torch.randn(I, 3 * H) / I**0.5)
        self.W_h = nn.Parameter(torch.randn(H, 3 * H) / H**0.5)
        self.b = nn.Parameter(torch.zeros(3 * H))
        self.p_f = nn.Parameter(torch.randn(H))
        self.p_o = nn.Parameter(torch.randn(H))

    def step(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        f, g, o = (x @ self.W_x + state.h @ self.W_h + self.b).chunk(3, -1)
        f = sigmoid(f + self.p_f * state.c)
        c = (f * state.c + (1 - f) * tanh(g)).clamp(-1, 1)
        h = sigmoid(o + self.p_o * c) * tanh(c)
        return h, LeakyState(h, c)


def coupled_by_hand(work: Work) -> Side:
    """The same cell in a loop: the input's product outside, one `addmm` a step."""
    stack = work.layer
    assert isinstance(stack, Stack)

    def layer(cell: Coupled, x: Tensor) -> Tensor:
        """Time first, in and out."""
        T, B, _ = x.shape
        h = c = x.new_zeros(B, cell.hidden_size)
        outputs = []
        for a in torch.addmm(cell.b, x.flatten(0, 1), cell.W_x).view(T, B, -1).unbind():
            f, g, o = torch.addmm(a, h, cell.W_h).chunk(3, -1)
            f = sigmoid(torch.addcmul(f, cell.p_f, c))
            c = torch.lerp(tanh(g), c, f).clamp(-1, 1)
            h = sigmoid(torch.addcmul(o, cell.p_o, c)) * tanh(c)
            outputs.append(h)
        return torch.stack(outputs)

    def run() -> Tensor:
        x = work.x.transpose(0, 1)
        for each in stack.layers:
            assert isinstance(each, Recurrent)
            assert isinstance(each.cell, Coupled)
            x = layer(each.cell, x)
        return x.transpose(0, 1)

    return trained(run, dict(stack.named_parameters()), work.gradient)


def lstm(work: Work) -> Work:
    return work.on(TORCHS_LSTM)


UNKNOWN = Race(
    "train/unknown-2x128",
    "training step of a coupled-gate peephole LSTM with a clip, written in the benchmark",
    Sizes(hidden=128, inputs=28, time=28, batch=128, layers=2),
    Coupled,
    {
        "ours": Entrant(ours),
        "loop": Entrant(coupled_by_hand, "loop"),
        "our LSTM": Entrant(with_other(lstm, ours), task="LSTM"),
        "LSTM by hand": Entrant(with_other(lstm, loops.by_hand), "loop", task="LSTM", timed=False),
    },
)


def small_gains(input_size: int, hidden_size: int) -> LayerNormLSTM:
    """With gains of 1 gradients explode over hundreds of steps, and nobody agrees with anybody."""
    cell = LayerNormLSTM(input_size, hidden_size)
    nn.init.constant_(cell.gamma, 0.1)
    return cell


def beside_a_loop(name: str, sizes: Sizes) -> Race:
    return Race(
        f"train/layer-norm-lstm{name}",
        "training step",
        sizes,
        small_gains,
        {"ours": Entrant(ours), "loop": Entrant(loops.by_hand, "loop")},
    )


CASES = [
    beside_a_loop("", Sizes(hidden=128, inputs=28, time=28, batch=128)),
    beside_a_loop("-long", Sizes(hidden=128, inputs=1, time=784, batch=64)),
    UNKNOWN,
]
