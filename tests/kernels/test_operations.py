"""Each of the machine's operations against torch in float64, for infinities and NaN too."""

import math
from itertools import product

import pytest
import torch

from ostinato.kernels.core import _chosen, core
from ostinato.programs.operations import NAMES

NUMBERS = [0.0, -0.0, 1e-45, -1e-40, 1.5e-38, 1e-20, 1e-4, 0.3, -0.5, 0.625, 1.0, -1.0, 2.5, 3.0, -3.0]
NUMBERS += [6.0, -9.0, 20.5, 87.9, 88.8, -87.5, -103.9, 1e4, -1e30, 3.4e38]
SPECIAL = [math.inf, -math.inf, math.nan]
FEW = [0.0, -0.5, 1e-40, 2.5, -1e30, *SPECIAL]

OPTIONS = {
    "power": (3.0,),
    "clamp": (-0.5, 0.8),
    "hardtanh": (-1.0, 1.0),
    "softplus": (2.0, 20.0),
    "elu": (0.7, 1.05, 1.25),
    "leaky_relu": (0.2,),
}
OPTIONS |= {f"d{name}": given for name, given in OPTIONS.items()}

EXACTLY = {
    "copy": lambda a: a,
    "where": lambda a, b, c: torch.where(a != 0, b, c),
    "gelu_tanh": lambda a: NAMES["gelu"](a, approximate="tanh"),
    "dgelu": lambda g, a: NAMES["dgelu"](g, a, "none"),
    "dgelu_tanh": lambda g, a: NAMES["dgelu"](g, a, "tanh"),
    "dclamp": lambda g, a, p, q: torch.where((a >= p) & (a <= q), g, 0),
    "dclamp_open": lambda g, a: torch.where((a > -0.5) & (a < 0.8), g, 0),
    "add3": lambda a, b, c: a + b + c,
    "mul_add": lambda a, b, c: a * b + c,
    "mul_mul_add": lambda a, b, c, d: a * b + c * d,
    "mul_tanh": lambda a, b: a * b.tanh(),
    "mix": lambda a, b, c: (1 - c) * a + c * b,
    "less_mul": lambda a, b: (1 - a) * b,
    "sigmoid_mul_add": lambda a, b, c: torch.sigmoid(a * b + c),
    "tanh_mul_add": lambda a, b, c: torch.tanh(a * b + c),
    "mul_dsigmoid": lambda a, b, c: a * b * (c * (1 - c)),
    "mul_dtanh": lambda a, b, c: a * b * (1 - c * c),
    "mul_dtanh_add": lambda a, b, c, d: a * b * (1 - c * c) + d,
    "sub_mul_dsigmoid": lambda a, b, c, d: a * (b - c) * (d * (1 - d)),
    "less_mul_dtanh": lambda a, b, c: a * (1 - b) * (1 - c * c),
    "dsigmoid": lambda g, y: g * y * (1 - y),
    "dtanh": lambda g, y: g * (1 - y * y),
}
"""What torch calls otherwise, or has not in one."""

TRUE = {"copy", "add", "sub", "mul", "div", "maximum", "minimum", "where", "gt", "ge", "lt", "le", "eq"}
TRUE |= {"ne", "neg", "abs", "sign", "relu", "clamp", "hardtanh", "drelu", "dclamp", "dclamp_open"}
TRUE |= {"dhardtanh", "leaky_relu", "dleaky_relu", "sqrt", "reciprocal"}
"""Rounded once, if at all."""

FEW_ULP = {"sigmoid", "tanh", "exp", "log", "log1p", "expm1", "sin", "cos", "erf", "power", "rsqrt"}
"""Right to some units in the last place of any result that is no denormal."""

ROWS = {"accumulate", "accumulate_product", "spread", "sum", "standardise", "dstandardise", "softmax"}
ROWS |= {"dsoftmax", "stretch", "pad", "conv"}
"""Of whole rows: the contract's cells meet them; of convolutions also test_images.py."""

POINTWISE = [name for name in (core().operations() if core() else []) if name not in ROWS]
INPUTS = {
    "where": 3,
    "mix": 3,
    "add3": 3,
    "mul_add": 3,
    "sigmoid_mul_add": 3,
    "mul_dsigmoid": 3,
    "tanh_mul_add": 3,
}
INPUTS |= {"mul_dtanh": 3, "less_mul_dtanh": 3, "mul_mul_add": 4, "mul_dtanh_add": 4}
INPUTS |= {"sub_mul_dsigmoid": 4}
BINARY = {"add", "sub", "mul", "div", "maximum", "minimum", "gt", "ge", "lt", "le", "eq", "ne"}
BINARY |= {"mul_tanh", "less_mul"}


def count_of(name):
    slope = name[0] == "d" and name != "div"
    return INPUTS.get(name, 2 if slope or name in BINARY else 1)


def grid(count):
    """Every number beside every other; of three and more, fewer of them."""
    values = torch.tensor(NUMBERS + SPECIAL if count < 3 else FEW)
    if count == 1:
        values = torch.cat([values, torch.linspace(-110, 110, 20_001), torch.linspace(-1, 1, 5_001)])
    return [torch.tensor(each) for each in zip(*product(values.tolist(), repeat=count), strict=True)]


def by_the_machine(name, inputs):
    """One instruction of one stage, over one row of one step."""
    module, width = core(), len(inputs[0])
    out = torch.full((width,), 7.0)
    places = [(slot, 0, 0) for slot in range(len(inputs) + 1)]
    number = module.operations().index(name)
    line = (number, places[:-1], places[-1:], [], 0, 0, list(OPTIONS.get(name, OPTIONS["clamp"])))
    walker = module.Walker([(width, False, [line], [])], [], [(0, 0)] * len(places), False)
    arrays = [(each.data_ptr(), width, width, 0, -1) for each in (*inputs, out)]
    walker.run(0, 1, 1, [], False, 1, arrays, 0, [], [])
    return out


def by_torch(name, inputs):
    given = () if name in EXACTLY and name != "dclamp" else OPTIONS.get(name, ())
    return EXACTLY.get(name, NAMES.get(name))(*inputs, *given)


@pytest.mark.parametrize("isa", core().isas() if core() else [])
@pytest.mark.parametrize("name", POINTWISE)
def test_an_operation_is_torchs(name, isa):
    inputs = grid(count_of(name))
    if name == "mix":
        inputs[2] = inputs[2].sigmoid()  # a share: of anything else the two parts cancel
    with _chosen(isa):
        got = by_the_machine(name, inputs)
    exact = by_torch(name, [each.double() for each in inputs]).float()
    plain = by_torch(name, inputs).float()
    # Where float32 leaves its range on the way, torch itself says no more than that.
    sure = (plain.double() - exact.double()).abs() <= 1e-5 * exact.abs() + 1e-5
    sure |= (plain == exact) | (plain.isnan() & exact.isnan())
    assert sure.float().mean() > (0.9 if count_of(name) < 3 else 0.3)
    ulp, least = (2e-7, 1e-45) if name in TRUE else (6e-7, 1.2e-38) if name in FEW_ULP else (2e-5, 2e-6)
    torch.testing.assert_close(got[sure], exact[sure], rtol=ulp, atol=least, equal_nan=True)
