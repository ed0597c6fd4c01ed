"""Steps that nobody wrote: random small cells, whose program gives what the plain loop gives."""

from collections import namedtuple
from dataclasses import dataclass

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from ostinato.cells import Cell
from ostinato.kernels import native
from ostinato.programs.compiled import _KNOWN
from tests.contract.agree import draw, everything, in_float32, randomise, same, small_blocks, some_state
from tests.contract.tolerances import TOLERANCES

W = 4
"""Every value of a random step is as wide, but for what some instructions make on their way."""

UNARY = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "neg": torch.neg,
    "exp": lambda a: torch.exp(a.clamp(max=1.0)),
    "log": lambda a: torch.log(a.abs() + 0.5),
    "log1p": lambda a: torch.log1p(a * a),
    "expm1": lambda a: torch.expm1(-a.abs()),
    "sqrt": lambda a: torch.sqrt(a * a + 0.1),
    "rsqrt": lambda a: torch.rsqrt(a * a + 0.5),
    "reciprocal": lambda a: torch.reciprocal(a * a + 1),
    "abs": torch.abs,
    "sign": torch.sign,
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu-tanh": lambda a: functional.gelu(a, approximate="tanh"),
    "elu": lambda a: functional.elu(a, 0.7),
    "selu": functional.selu,
    "celu": lambda a: functional.celu(a, 1.25),
    "softplus": lambda a: functional.softplus(a, beta=2.0),
    "logsigmoid": functional.logsigmoid,
    "leaky-relu": lambda a: functional.leaky_relu(a, 0.2),
    "hardsigmoid": functional.hardsigmoid,
    "hardtanh": functional.hardtanh,
    "relu6": functional.relu6,
    "softsign": functional.softsign,
    "clamp": lambda a: a.clamp(-0.5, 0.8),
    "clamp-above": lambda a: a.clamp(min=0.1),
    "square": lambda a: a**2,
    "cube": lambda a: a**3,
    "plus-one": lambda a: a + 1,
    "one-minus": lambda a: 1 - a,
    "scaled": lambda a: 0.5 * a,
    "over": lambda a: 1 / (2 + a * a),
    "halved": lambda a: a / 2,
    "turned": lambda a: torch.cat([a[..., 1:], a[..., :1]], -1),
    "swapped": lambda a: torch.cat(list(reversed(a.chunk(2, -1))), -1),
    "transposed": lambda a: a.view(-1, 2, 2).transpose(1, 2).reshape(-1, W),
    "unbound": lambda a: torch.stack(a.unbind(-1)[::-1], -1),
    "added-pairs": lambda a: a.reshape(-1, 2, 2).sum(-1).unsqueeze(-1).expand(-1, 2, 2).flatten(1),
    "less-its-mean": lambda a: a - a.mean(-1, keepdim=True),
    "times-its-sum": lambda a: a * a.sum(-1, keepdim=True),
    "softmax": lambda a: torch.softmax(a, -1),
    "norm": lambda a: functional.layer_norm(a, (W,)),
    "norm-of-halves": lambda a: functional.layer_norm(a.view(-1, 2, 2), (2,), eps=0.1).view(-1, W),
    "scaled-by-its-spread": lambda a: a / (1 + a.var(-1, keepdim=True)),
    "half": lambda a: a[..., 1:3].unsqueeze(1).expand(-1, 2, 2).reshape(-1, W),
}

GAP = 0.123
"""Two values may be one but for rounding, as a gate between x and x is; which is greater, rows say as
they round."""

BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "sub-scaled": lambda a, b: torch.sub(a, b, alpha=0.5),
    "div": lambda a, b: a / (1 + b * b),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "where-greater": lambda a, b: torch.where(a > b + GAP, a, b * 0.5),
    "where-positive": lambda a, b: torch.where(a >= 0, b, 0.0),
    "where-below": lambda a, b: torch.where(a < 0.1, 1.0, b),
    "half-masked": lambda a, b: torch.where((a > b + GAP)[:, 1:2].expand(-1, W), a, b),
    "mask-joined": lambda a, b: torch.where(torch.cat([a > b + GAP, a < 0], -1)[:, 2:6], a, b),
    "counted": lambda a, b: a + (b > 0) + (a <= b + GAP),
    "masked": lambda a, b: a * (b <= 0.2),
    "first-of-each": lambda a, b: torch.cat([a[..., :2], b[..., 2:]], -1),
    "by-the-first": lambda a, b: a * b[..., :1],
    "by-the-mean": lambda a, b: a * torch.sigmoid(b.mean(-1, keepdim=True)),
    "stacked": lambda a, b: torch.stack([a, b], 1).sum(1),
    "attention": lambda a, b: torch.softmax(torch.stack([a, b], -1), -1)[..., 0],
}  # fmt: skip

TERNARY = {
    "lerp": torch.lerp,
    "gate": lambda a, b, z: torch.sigmoid(z) * a + (1 - torch.sigmoid(z)) * b,
    "addcmul": lambda a, b, c: torch.addcmul(a, b, c, value=0.5),
    "where": lambda a, b, c: torch.where(a > 0, b, c),
    "gated": lambda a, b, c: a * b + c,
}

MATRICES = {
    "plain": lambda w: w,
    "turned": lambda w: w.t(),
    "antisymmetric": lambda w: w - w.t(),
    "scaled": lambda w: 0.5 * torch.tanh(w),
}

VECTORS = {
    "added": lambda a, v: a + v,
    "times": lambda a, v: a * v,
    "softmax": lambda a, v: a * torch.softmax(v, -1),
    "decay": lambda a, v: a * torch.sigmoid(v) + (1 - torch.sigmoid(v)),
    "one": lambda a, v: a * v[0],
    "row": lambda a, v: torch.maximum(a, v.expand_as(a)),
    "norm": lambda a, v: functional.layer_norm(a, (W,), weight=v, bias=-v),
    "where": lambda a, v: torch.where(a > v, v, a),
    "cat": lambda a, v: torch.cat([a, v.expand(a.shape[0], W)], -1)[..., 2:6],
}

NAMES = ("W", "w_1", "t1", "x", "h_all", "block", "W_t", "s", "c")
"""A weight may be called what the program's own source would like to call something."""


@dataclass(frozen=True)
class Recipe:
    """A step as data: instructions `(kind, which, inputs…)`; inputs are indices of earlier values.

    Values 0 and on are x and the fields of the state, then what each instruction makes.
    """

    fields: int
    instructions: tuple[tuple, ...]
    matrices: tuple[str, ...]
    vectors: tuple[str, ...]
    handed_on: tuple[int, ...]
    output: int


STATES = [None] + [namedtuple(f"State{n}", ["h", "c", "x_prev"][:n]) for n in (1, 2, 3)]


class RandomCell(Cell):
    def __init__(self, recipe):
        super().__init__(W, W)
        self.recipe, self.State = recipe, STATES[recipe.fields]
        for name in recipe.matrices:
            setattr(self, name, nn.Parameter(torch.zeros(W, W)))
        for name in recipe.vectors:
            setattr(self, name, nn.Parameter(torch.zeros(W)))

    def step(self, x, state):
        recipe, values = self.recipe, [x, *state]
        for kind, which, *where in recipe.instructions:
            inputs = [values[index] for index in where]
            values.append(self.run(kind, which, inputs))
        return values[recipe.output], self.State(*(values[index] for index in recipe.handed_on))

    def run(self, kind, which, inputs):
        if kind == "product":
            name, how = which
            return inputs[0] @ MATRICES[how](getattr(self, name))
        if kind == "linear":
            name, bias = which
            return functional.linear(inputs[0], getattr(self, name), getattr(self, bias))
        if kind == "joined":
            return torch.cat(inputs, -1) @ torch.cat([getattr(self, name) for name in which])
        if kind == "vector":
            name, how = which
            return VECTORS[how](inputs[0], getattr(self, name))
        return {"unary": UNARY, "binary": BINARY, "ternary": TERNARY}[kind][which](*inputs)


@st.composite
def recipes(draw):
    fields = draw(st.integers(1, 3))
    names = draw(st.permutations(NAMES))
    matrices, vectors = tuple(names[:2]), tuple(names[2:4])
    instructions, count = [], 1 + fields
    for _ in range(draw(st.integers(0, 8))):
        value = st.integers(0, count - 1)
        kind = draw(
            st.sampled_from(
                ["product", "unary", "binary", "binary", "ternary", "vector", "linear", "joined"]
            )
        )
        matrix, vector = st.sampled_from(matrices), st.sampled_from(vectors)
        which, inputs = {
            "product": (st.tuples(matrix, st.sampled_from(sorted(MATRICES))), 1),
            "linear": (st.tuples(matrix, vector), 1),
            "joined": (st.just(matrices), 2),
            "vector": (st.tuples(vector, st.sampled_from(sorted(VECTORS))), 1),
            "unary": (st.sampled_from(sorted(UNARY)), 1),
            "binary": (st.sampled_from(sorted(BINARY)), 2),
            "ternary": (st.sampled_from(sorted(TERNARY)), 3),
        }[kind]
        instructions.append((kind, draw(which), *(draw(value) for _ in range(inputs))))
        count += 1
    latest = st.integers(0, count - 1).map(lambda n: count - 1 - n)
    handed_on = tuple(draw(latest) for _ in range(fields))
    return Recipe(fields, tuple(instructions), matrices, vectors, handed_on, draw(latest))


def check(recipe, seed, **options):
    cell = randomise(RandomCell(recipe), seed)
    x = draw(seed, 3, 5, W).requires_grad_()
    state = some_state(cell, 3, seed)
    expected = everything(cell, "reference", x, state, **options)
    # A step that explodes, x⁶ of x⁶ of …, turns the last digit of a number into its first.
    assume(all(torch.isfinite(e).all() and (e.abs() < 1e4).all() for e in expected.values()))
    _KNOWN.clear()
    same(everything(cell, "program", x, state, **options), expected)
    if native.why_not(cell) is None:
        check_native(cell, x, state, expected, **options)


def check_native(cell, x, state, expected, **options):
    """In float32, wherever the plain loop in float32 says that so many digits tell something."""
    plain, got = (
        everything(*in_float32(cell, row, x, state), **options) for row in ("reference", "native")
    )
    for name, each in expected.items():
        close = {"rtol": TOLERANCES[torch.float32][0] / 4, "atol": TOLERANCES[torch.float32][1] / 4}
        assume(torch.allclose(plain[name].to(each.dtype), each, **close))
    same(got, expected, torch.float32)


CALLS = st.fixed_dictionaries(
    {
        "reverse": st.booleans(),
        "recompute": st.sampled_from([None, 2]),
        "lengths": st.sampled_from([None, torch.tensor([5, 5, 5]), torch.tensor([2, 5, 0])]),
        "resets": st.sampled_from(
            [None, torch.tensor([[0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [0] * 5]) > 0]
        ),
    }
)


@settings(deadline=None, max_examples=500)
@given(recipe=recipes(), options=CALLS, small=st.booleans(), seed=st.integers(0, 99))
def test_random_steps_run_as_programs(recipe, options, small, seed):
    if small:
        with small_blocks(24):
            check(recipe, seed, **options)
    else:
        check(recipe, seed, **options)
