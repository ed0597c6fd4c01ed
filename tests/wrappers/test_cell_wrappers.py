"""What wraps a cell, against its formula written out by hand; and who decides what is drawn."""

import copy
import pickle

import pytest
import torch
from torch import sigmoid, softmax, tanh

import ostinato
from ostinato import states
from ostinato.cells import GRU, LSTM, SRU, Elman, LSTMState
from ostinato.cells.masks import random_mask
from ostinato.drivers import Recurrent, Static, truncated
from ostinato.errors import DtypeError
from ostinato.wrappers import (
    Attention,
    CellStack,
    Dropout,
    Highway,
    Residual,
    Stack,
    WeightDrop,
    Zoneout,
)

B, T, I, H = 3, 6, 4, 4  # noqa: E741
every_row = pytest.mark.parametrize("row", ["reference", "program"])


def wave(*shape):
    torch.manual_seed(sum(shape))
    return torch.randn(*shape, dtype=torch.float64)


def steps(cell, x, state):
    """The outputs of a plain loop, and the last state."""
    outputs = []
    for x_t in x.unbind(1):
        output, state = cell.step(x_t, state)
        outputs.append(output)
    return torch.stack(outputs, 1), state


def mask(draw, width, p, stream, scale=None):
    return random_mask(
        draw, (width,), p, 1 / (1 - p) if scale is None else scale, stream, torch.float64
    )


def draws():
    return torch.tensor([3, 1 << 50, 77])


@every_row
@pytest.mark.parametrize("variational", [False, True])
def test_dropout_by_hand(row, variational):
    cell = Dropout(LSTM(I, H), input=0.3, output=0.5, state=0.2, variational=variational).double()
    x, h, c, draw = wave(B, T, I), wave(B, H), wave(B, H) * 0.3, draws()
    got, last = Recurrent(cell, row=row)(x, cell.State(h, c, draw))
    outputs = []
    for x_t in x.unbind(1):
        y, (h, c) = cell.cell.step(x_t * mask(draw, I, 0.3, 0), LSTMState(h, c))
        outputs.append(y * mask(draw, H, 0.5, 1))
        h = h * mask(draw, H, 0.2, 2)  # and c is left alone
        draw = draw if variational else draw + 1
    torch.testing.assert_close(got, torch.stack(outputs, 1))
    torch.testing.assert_close(last, cell.State(h, c, draw))
    assert (got == 0).any()
    assert (last.h == 0).any()
    assert not (last.c == 0).any()


@every_row
def test_dropout_of_named_fields(row):
    cell = Dropout(LSTM(I, H), state={"c": 0.5}).double()
    x, start = wave(B, 1, I), cell.State(wave(B, H), wave(B, H), draws())
    _, plain = cell.cell.step(x[:, 0], LSTMState(*start[:2]))
    _, last = Recurrent(cell, row=row)(x, start)
    torch.testing.assert_close(last.c, plain.c * mask(start.draw, H, 0.5, 3))
    torch.testing.assert_close(last.h, plain.h)


@every_row
def test_zoneout_by_hand(row):
    cell = Zoneout(LSTM(I, H), {"h": 0.3, "c": 0.6}).double()
    x, h, c, draw = wave(B, T, I), wave(B, H), wave(B, H), draws()
    start = cell.State(h, c, draw)
    got, last = Recurrent(cell, row=row)(x, start)
    evaluated, _ = Recurrent(cell, row=row).eval()(x, start)
    for training, found in ((True, got), (False, evaluated)):
        h, c, draw = start
        for t, x_t in enumerate(x.unbind(1)):
            _, new = cell.cell.step(x_t, LSTMState(h, c))
            d_h = mask(draw, H, 0.7, 0, 1.0) if training else 0.3
            d_c = mask(draw, H, 0.4, 1, 1.0) if training else 0.6
            h, c = d_h * h + (1 - d_h) * new.h, d_c * c + (1 - d_c) * new.c
            torch.testing.assert_close(found[:, t], h)
            draw = draw + 1
    assert set(mask(start.draw, 50, 0.7, 0, 1.0).unique().tolist()) == {0.0, 1.0}
    assert torch.equal(last.draw, start.draw + T)


@every_row
def test_zoneout_keeps_numbers_exactly(row):
    """What is kept is the number itself, and what is not kept the new one."""
    cell = Zoneout(Elman(I, H), 0.5).double()
    x, start = wave(B, 1, I), cell.State(wave(B, H), draws())
    _, last = Recurrent(cell, row=row)(x, start)
    new, _ = cell.cell.step(x[:, 0], cell.inner(start))
    kept = mask(start.draw, H, 0.5, 0, 1.0).bool()
    assert kept.any()
    assert not kept.all()
    assert torch.equal(last.h[kept], start.h[kept])
    torch.testing.assert_close(last.h[~kept], new[~kept])


@every_row
def test_weight_drop_by_hand(row):
    cell = WeightDrop(LSTM(I, H), 0.4, ["W_h", "b"]).double()
    x, start = wave(B, T, I), LSTMState(wave(B, H), wave(B, H))
    got = Recurrent(cell, row=row)(x, start)
    masked = copy.deepcopy(cell.cell)
    with torch.no_grad():
        for stream, weight in enumerate((masked.W_h, masked.b)):
            weight.mul_(random_mask(cell.draw, tuple(weight.shape), 0.4, 1 / 0.6, stream, weight.dtype))
    assert (masked.W_h == 0).any()
    torch.testing.assert_close(got, steps(masked, x, start))
    got[0].sum().backward()
    assert torch.equal(cell.cell.W_h.grad == 0, masked.W_h == 0)
    torch.testing.assert_close(Recurrent(cell, row=row).eval()(x, start), steps(cell.cell, x, start))


@every_row
def test_a_weight_mask_lasts_a_sequence(row):
    torch.manual_seed(1)
    cell = WeightDrop(LSTM(I, H), 0.5, ["W_h"]).double()
    layer, x = Recurrent(cell, row=row), wave(1, T, I)
    whole, _ = layer(x)
    first = cell.draw
    parts = [outputs for outputs, _, _ in truncated(layer, x, 2)]
    assert not torch.equal(cell.draw, first)  # no state was given: a new sequence, a new mask
    assert not torch.equal(torch.cat(parts, 1), whole)
    cell.draw = first
    start = LSTMState(*torch.zeros(2, 1, H).double())
    parts = [outputs for outputs, _, _ in truncated(layer, x, 2, start)]
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    assert list(cell.state_dict()) == [f"cell.{name}" for name in cell.cell.state_dict()]
    layer.eval()(x)
    assert torch.equal(cell.draw, first)


@every_row
@pytest.mark.parametrize("recompute", [None, 2])
def test_each_call_keeps_its_weight_mask_for_its_gradients(row, recompute):
    """Two calls, then both backward passes: as if each had been done alone."""
    cell = WeightDrop(Elman(I, H), 0.5, ["W_h"]).double()
    layer, x = Recurrent(cell, row=row, recompute=recompute), wave(2, T, I)
    torch.manual_seed(5)
    alone = []
    for _ in range(2):
        outputs, _ = layer(x)
        alone.append(torch.autograd.grad(outputs.sum(), cell.cell.W_h)[0])
    assert not torch.equal(*alone)
    torch.manual_seed(5)
    both = [layer(x)[0].sum() for _ in range(2)]
    (together,) = torch.autograd.grad(sum(both), cell.cell.W_h)
    torch.testing.assert_close(together, sum(alone))


@every_row
def test_residual_by_hand(row):
    x = wave(B, T, I)
    cell = Residual(GRU(I, I)).double()
    plain, last = Recurrent(cell.cell, row=row)(x)
    torch.testing.assert_close(Recurrent(cell, row=row)(x), (plain + x, last))
    projected = Residual(GRU(I, 7), project=True).double()
    plain, last = Recurrent(projected.cell, row=row)(x)
    torch.testing.assert_close(Recurrent(projected, row=row)(x), (plain + x @ projected.join.W_p, last))


@every_row
@pytest.mark.parametrize("coupled", [True, False])
def test_highway_by_hand(row, coupled):
    x = wave(B, T, I)
    cell = Highway(GRU(I, I), coupled, carry_bias=2.0).double()
    join = cell.join
    assert torch.equal(join.b_c, torch.full((I,), 2.0).double())
    plain, last = Recurrent(cell.cell, row=row)(x)
    carry = sigmoid(x @ join.W_c + join.b_c)
    transform = 1 - carry
    if not coupled:
        assert torch.equal(join.b_t, torch.full((I,), -2.0).double())
        transform = sigmoid(x @ join.W_t + join.b_t)
    torch.testing.assert_close(Recurrent(cell, row=row)(x), (carry * x + transform * plain, last))


@every_row
def test_attention_by_hand(row):
    """As the paper says it: every key made anew of every output, one row at a time."""
    cell = Attention(LSTM(5, H), 3, size=2, vector_size=6, input_size=I).double()
    x = wave(B, T, I)
    got, last = Recurrent(cell, row=row)(x)
    for r in range(B):
        state, attended = LSTMState(*torch.zeros(2, 1, H).double()), torch.zeros(2).double()
        past = [torch.zeros(2).double()] * 3
        for t in range(T):
            read = torch.cat([x[r, t], attended]) @ cell.W_i + cell.b_i
            y, state = cell.cell.step(read[None], state)
            query = torch.cat([state.h[0], state.c[0]]) @ cell.W_q + cell.b_q
            scores = torch.stack([cell.v @ tanh(m @ cell.W_k + query) for m in past])
            attended = sum(a * m for a, m in zip(softmax(scores, 0), past, strict=True))
            output = torch.cat([y[0], attended]) @ cell.W_o + cell.b_o
            past = [*past[1:], output]
            torch.testing.assert_close(got[r, t], output)
        torch.testing.assert_close(last.memory[r], torch.stack(past))
        torch.testing.assert_close(last.attended[r], attended)
    assert cell.output_size == 2


@every_row
def test_a_stack_of_cells_is_a_stack_of_layers(row):
    cells = [LSTM(I, 5).double(), GRU(5, 3).double(), LSTM(3, H).double()]
    x, lengths, resets = wave(B, T, I), torch.tensor([6, 0, 4]), wave(B, T) > 0.7
    stack = CellStack(cells)
    assert stack.State._fields == ("h", "c", "n2_h", "n3_h", "n2_c")
    got, last = Recurrent(stack, row=row)(x, lengths=lengths, resets=resets)
    layers = Stack([Recurrent(cell, row=row) for cell in cells])
    expected, parts = layers(x, lengths=lengths, resets=resets)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(tuple(last), tuple(each for part in parts for each in part))


# Who decides what is drawn.

RANDOM = {
    "dropout": lambda: Dropout(LSTM(I, H), input=0.5, state=0.3),
    "variational": lambda: Dropout(GRU(I, H), input=0.5, output=0.5, variational=True),
    "nested": lambda: Zoneout(Residual(Dropout(GRU(I, H), output=0.5)), 0.5),
    "stacked": lambda: CellStack([Dropout(GRU(I, H), input=0.5), Zoneout(SRU(H, H), 0.5)]),
    "weights": lambda: WeightDrop(Dropout(LSTM(I, H), input=0.2), 0.5, ["cell.W_h"]),
}
every_random = pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)


@every_random
@pytest.mark.parametrize("resets", [False, True], ids=["whole", "resets"])
def test_the_same_seed_gives_the_same_run(make, resets):
    """On every row, compiled or not, and another seed gives another."""
    cell, x = make().double(), wave(B, T, I)
    marks = {"resets": wave(B, T) > 0.5} if resets else {}
    layers = [Recurrent(cell, row=row) for row in ("reference", "program")]
    layers += [Static(layer, T, backend="eager") for layer in layers]
    runs = []
    for seed in (0, 0, 1):
        for layer in layers:
            torch.manual_seed(seed)
            runs.append(layer(x, **marks)[0])
    for run in runs[1:8]:
        torch.testing.assert_close(run, runs[0])
    assert not torch.allclose(runs[8], runs[0])


@every_row
@every_random
def test_masks_do_not_depend_on_how_a_batch_is_split(make, row):
    """Bit for bit in what was drawn; in numbers but for the order of a sum."""
    cell, x = make().double(), wave(B, T, I)
    layer, start = Recurrent(cell, row=row), cell.initial_state(B)
    whole, last = layer(x, start)
    for r in range(B):
        alone, state = layer(x[r : r + 1, :4], states.rows(start, [r]))
        rest, state = layer(x[r : r + 1, 4:], state)
        torch.testing.assert_close(torch.cat([alone, rest], 1)[0], whole[r])
        torch.testing.assert_close(state, states.rows(last, [r]))
    torch.testing.assert_close(steps(cell, x, start), (whole, last))


def dropped_inputs(**options):
    """Which inputs are dropped: with x all ones and no weights but a sum, outputs tell."""
    inner = Residual(Elman(8, 8))
    torch.nn.init.zeros_(inner.cell.W_x)
    torch.nn.init.zeros_(inner.cell.W_h)
    cell = Dropout(inner, input=0.5, **options)
    return Recurrent(cell)(torch.ones(5, 9, 8))[0] == 0


def test_rows_and_steps_have_masks_of_their_own():
    torch.manual_seed(2)
    each = dropped_inputs()
    assert each.flatten(0, 1).unique(dim=0).shape[0] > 35  # of 45, of 8 coins each
    steady = dropped_inputs(variational=True)
    assert torch.equal(steady, steady[:, :1].expand_as(steady))
    assert steady[:, 0].unique(dim=0).shape[0] == 5
    together = dropped_inputs(per="batch")
    assert torch.equal(together, together[:1].expand_as(together))
    assert together[0].unique(dim=0).shape[0] > 5
    one = dropped_inputs(variational=True, per="batch")
    assert torch.equal(one, one[:1, :1].expand_as(one))


def test_a_reset_begins_new_masks():
    torch.manual_seed(3)
    cell = Dropout(GRU(I, H), input=0.5, variational=True)
    start = cell.initial_state(1)
    resets = torch.tensor([[False, False, True, False]])
    _, last = Recurrent(cell)(torch.ones(1, 4, I), start, resets=resets)
    assert last.draw.item() != start.draw.item()


def explained(layer, x, capsys):
    ostinato.explain(layer, x)
    return capsys.readouterr().out.split("\nbackward\n")[0]


def test_masks_are_made_before_the_walk(capsys):
    cell = Zoneout(Dropout(LSTM(I, H), input=0.2, state=0.2, output=0.2), 0.3)
    said = explained(cell, torch.zeros(1, 1, I), capsys)
    assert said.startswith("Zoneout(Dropout(LSTM(input_size=4, hidden_size=4), input=0.2, output=0.2")
    before, walk = said.split("walk, step by step")
    assert before.count("mask(draw, ") == 3
    assert before.count("mask(n2_draw, ") == 2
    assert "draw counts by 1" in before
    assert "mask(" not in walk
    assert "draw <-" not in walk
    steady = explained(Dropout(GRU(I, H), input=0.2, variational=True), torch.zeros(1, 1, I), capsys)
    assert "draw stays" in steady


@every_random
def test_in_evaluation_nothing_is_drawn(make, capsys):
    torch.manual_seed(0)
    cell = make().double().eval()
    said = explained(cell, torch.zeros(1, 1, I).double(), capsys)
    assert "draw" not in said
    assert "mask" not in said
    layer, x = Recurrent(cell), wave(B, T, I)
    known = torch.get_rng_state()
    first, state = layer(x)
    assert torch.equal(first, layer(x)[0])
    assert torch.equal(known, torch.get_rng_state())
    assert not any(each.any() for name, each in state._asdict().items() if "draw" in name)


def test_zoneout_leaves_a_scan_a_scan(capsys):
    assert "walk: 1 scan" in explained(Zoneout(SRU(I, H), 0.3), torch.zeros(1, 1, I), capsys)


# States with a counter in them.


def test_a_state_with_a_counter_saves_loads_copies_and_moves(tmp_path):
    cell = Zoneout(Dropout(LSTM(I, H), input=0.5), 0.3)
    with torch.no_grad():
        _, state = Recurrent(cell)(torch.randn(2, 3, I))
    assert state._fields == ("h", "c", "draw", "n2_draw")
    states.save(tmp_path / "state", state)
    for twin in (
        states.load(tmp_path / "state"),
        copy.deepcopy(state),
        pickle.loads(pickle.dumps(state)),
    ):
        assert type(twin) is type(state) is cell.State
        assert all(map(torch.equal, twin, state))
    half = states.to(state, dtype=torch.bfloat16)
    assert [each.dtype for each in half] == [torch.bfloat16] * 2 + [torch.int64] * 2
    Recurrent(cell.bfloat16())(torch.randn(2, 3, I).bfloat16(), half)
    with pytest.raises(
        DtypeError, match=r"n2_draw in torch\.int64, since it counts; got torch\.float32"
    ):
        cell(torch.randn(2, I).bfloat16(), half._replace(n2_draw=half.n2_draw.float()))


@every_row
def test_a_learned_start_is_the_inner_cells(row):
    cell = Attention(Dropout(LSTM(I, H), input=0.5), 2).learn_initial_state()
    assert {"cell.cell.h_0", "cell.cell.c_0"} <= set(dict(cell.named_parameters()))
    outputs, _ = Recurrent(cell, row=row)(torch.randn(2, 3, I))
    outputs.sum().backward()
    assert cell.cell.cell.h_0.grad.any()


# Inside the rest of PyTorch.


@every_row
@every_random
def test_a_layer_compiles_with_its_masks(make, row):
    """From a state they are the plain layer's; without one they follow the seed."""
    torch._dynamo.reset()  # which gives up after eight versions of a function, whoever asked for them
    layer, x = Recurrent(make().double(), row=row), wave(B, T, I).requires_grad_()
    start = layer.cell.initial_state(B)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for training in (True, False):
        layer.train(training)
        results = []
        for each in (layer, compiled):
            outputs, last = each(x, start)
            results.append([outputs, *last, torch.autograd.grad(outputs.sum(), x)[0]])
        torch.testing.assert_close(*results)
    layer.train()
    runs = [torch.manual_seed(seed) and compiled(x)[0] for seed in (1, 1, 2)]
    assert torch.equal(*runs[:2])
    assert not torch.allclose(*runs[1:])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
@every_random
def test_transforms_see_the_masks_of_their_row(make):
    """Gradients one row at a time, and forward mode, where the state says what is drawn."""
    cell = make().double()
    layer, x, start = Recurrent(cell), wave(B, T, I), cell.initial_state(B)
    weights = {name: each.detach() for name, each in layer.named_parameters()}

    def loss(weights, x, state):
        state = type(state)(*(each[None] for each in state))
        return torch.func.functional_call(layer, weights, (x[None], state))[0].sum()

    rows = torch.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(weights, x, start)
    whole = torch.autograd.grad(layer(x, start)[0].sum(), layer.parameters())
    torch.testing.assert_close([each.sum(0) for each in rows.values()], list(whole))
    _, tangent = torch.func.jvp(lambda x: layer(x, start)[0].sum(), (x,), (torch.ones_like(x),))
    (gradient,) = torch.autograd.grad(layer(leaf := x.requires_grad_(), start)[0].sum(), leaf)
    torch.testing.assert_close(tangent, gradient.sum())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
@every_random
def test_autocast_and_export(make):
    layer, x = Recurrent(make()), wave(B, T, I).float()
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = layer(x)
    outputs.float().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in layer.parameters())
    start = layer.cell.initial_state(B)
    exported = torch.export.export(layer, (x, start)).module()
    torch.testing.assert_close(exported(x, start), layer(x, start))
