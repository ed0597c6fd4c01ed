"""Masks by numbers: what they are, that they are fair, and that nothing else decides them."""

import math

import pytest
import torch

from ostinato.cells.masks import fresh_draws, random_mask

FULL = (1 << 64) - 1


def mixed(word):
    """SplitMix64's output function, in whole numbers of Python."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & FULL
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & FULL
    return word ^ (word >> 31)


def by_hand(draw, width, drop, scale, stream):
    gamma = 0x9E3779B97F4A7C15
    begin = mixed((mixed((draw + gamma) & FULL) + stream * gamma) & FULL)
    values = []
    for number in range(width):
        word = mixed((begin + (number // 2 + 1) * gamma) & FULL)
        half = (word >> 32 if number % 2 else word) & 0xFFFFFFFF
        signed = half - (1 << 32) if half >= 1 << 31 else half
        values.append(scale if signed >= round(drop * 2**32) - (1 << 31) else 0.0)
    return values


def test_splitmix64_is_splitmix64():
    """Its first number from the seed 0, as its authors' code gives it."""
    assert mixed(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("draw", [0, 1, 12345, 2**63 - 1, -1, -(2**63)])
def test_a_mask_is_what_the_numbers_say(draw):
    for stream, drop, width in ((0, 0.5, 7), (1, 0.1, 8), (5, 0.9, 1), (40, 0.0, 3)):
        got = random_mask(torch.tensor(draw), (width,), drop, 2.0, stream, torch.float64)
        assert got.tolist() == by_hand(draw, width, drop, 2.0, stream)


def deviation(a, b=None):
    """How far coins are from fair, or from independent of others, in standard deviations."""
    signs = (a * 2 - 1) * (1 if b is None else b * 2 - 1)
    return abs(float(signs.mean())) * math.sqrt(signs.numel())


def test_coins_are_fair_and_independent():
    """Of neighbours in a mask, of one step and the next, of one row and another, of two streams."""
    steps = torch.arange(20_000)
    rows = torch.tensor([0, 1 << 20, 1 << 40, 987654321987654321])
    masks = random_mask(rows[:, None] + steps, (6,), 0.5, 1.0, 0, torch.float64)
    other = random_mask(rows[:, None] + steps, (6,), 0.5, 1.0, 1, torch.float64)
    found = [deviation(masks[r, :, i]) for r in range(4) for i in range(6)]
    found += [deviation(masks[..., i], masks[..., j]) for i in range(6) for j in range(i)]
    found += [deviation(masks[:, 1:, i], masks[:, :-1, j]) for i in range(6) for j in range(6)]
    found += [deviation(masks[r, :, 0], masks[s, :, 0]) for r in range(4) for s in range(r)]
    found += [deviation(masks[..., i], other[..., j]) for i in range(6) for j in range(6)]
    assert max(found) < 4.5  # 117 of them: one run in a thousand would pass that by chance


@pytest.mark.parametrize("drop", [0.0, 0.01, 0.3, 0.75, 0.999])
def test_the_share_that_is_dropped(drop):
    mask = random_mask(torch.arange(40_000), (5,), drop, 1.0, 0, torch.float64)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    away = abs(float((mask == 0).double().mean()) - drop)
    assert away <= 4 * math.sqrt(drop * (1 - drop) / mask.numel())


def test_nothing_but_the_numbers_decides():
    draws = torch.arange(3000).view(3, 1000)
    whole = random_mask(draws, (4, 3), 0.4, 1.0, 2, torch.float64)
    assert whole.shape == (3, 1000, 4, 3)
    assert torch.equal(whole[1, 7], random_mask(draws[1, 7], (4, 3), 0.4, 1.0, 2, torch.float64))
    turned = random_mask(draws.t(), (4, 3), 0.4, 1.0, 2, torch.float64)
    assert torch.equal(whole, turned.transpose(0, 1))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert torch.equal(whole, random_mask(draws, (4, 3), 0.4, 1.0, 2, dtype).double())
    torch.manual_seed(1)
    assert torch.equal(whole, random_mask(draws, (4, 3), 0.4, 1.0, 2, torch.float64))
    assert torch.equal(draws, torch.arange(3000).view(3, 1000))


def test_transforms_and_compilers_see_one_operation():
    draws = torch.arange(5)

    def mask(draw):
        return random_mask(draw, (3,), 0.5, 2.0, 0, torch.float32)

    assert torch.equal(torch.vmap(mask)(draws), mask(draws))
    twice = torch.arange(6).view(2, 3)
    assert torch.equal(torch.vmap(torch.vmap(mask), in_dims=1)(twice), mask(twice.t()))
    compiled = torch.compile(mask, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(draws), mask(draws))
    assert mask(torch.empty(4, dtype=torch.long, device="meta")).shape == (4, 3)
    assert mask(torch.empty(0, dtype=torch.long)).shape == (0, 3)
    assert not mask(draws).requires_grad


def test_fresh_draws_come_from_torchs_generator():
    torch.manual_seed(4)
    first = fresh_draws(6, torch.device("cpu"))
    torch.manual_seed(4)
    parts = [fresh_draws(n, torch.device("cpu")) for n in (1, 2, 3)]
    assert torch.equal(first, torch.cat(parts))
    assert len(set(first.tolist())) == 6
    assert first.dtype == torch.int64
