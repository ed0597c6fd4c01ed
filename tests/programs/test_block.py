"""What a step was given lies late in the history of what each handed on, in parts of a block too."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from ostinato.programs.block import Block


@st.composite
def blocks(draw):
    """Rows of falling length, some of none at all."""
    lengths = sorted(draw(st.lists(st.integers(0, 6), min_size=1, max_size=7)), reverse=True)
    active = [sum(length > step for length in lengths) for step in range(lengths[0])]
    return Block(len(lengths), active, None, [False] * len(active))


def filled(block):
    """A history in which row r of step s hands on 100·s + r, and is given as much at first less 100."""
    start = torch.arange(block.batch)[:, None] - 100
    history = block.history(start)
    rows = [100 * step + torch.arange(count) for step, count in enumerate(block.active)]
    block.handed_on(history)[:, 0] = torch.cat([*rows, torch.empty(0, dtype=torch.long)])
    return history, start


def expected(active, first=0):
    rows = [100 * (first + step - 1) + torch.arange(count) for step, count in enumerate(active)]
    return torch.cat(rows)[:, None]


@given(block=blocks(), count=st.integers(1, 4))
def test_what_is_late_is_what_was_given(block, count):
    history, start = filled(block)
    if not block.active:
        assert not block.given(history, start, None).numel()
        return
    assert torch.equal(block.given(history, start, None), expected(block.active))
    late = block.late(history, start, None)
    assert torch.equal(block.on_time(late), expected(block.active))
    assert late.data_ptr() == history.data_ptr(), "it was copied"
    first = 0
    parts = block.parts(count)[::-1]
    assert 1 <= len(parts) <= count
    for rows, part in parts:
        own = block.of_part(late, rows, part)
        assert torch.equal(part.on_time(own), expected(part.active, first))
        assert torch.equal(part.turned().on_time(own), expected(part.active, first))
        plain = block.given(history, start, None)
        assert torch.equal(block.of_part(plain, rows, part), plain[rows])
        first += len(part.active)
    assert [each for _, part in parts for each in part.active] == block.active


@given(block=blocks(), count=st.integers(1, 4))
def test_parts_use_one_memory(block, count):
    asked = []

    def empty(shape):
        asked.append(shape)
        return torch.empty(shape)

    for _, part in block.parts(count):
        assert part.turned().room(empty, 2).shape == (part.rows, 2)
    assert len(set(asked)) <= 1


def test_parts_have_about_as_many_rows():
    block = Block(8, [8] * 10 + [1] * 30, None, [False] * 40)
    assert [part.rows for _, part in block.parts(2)] == [54, 56]
