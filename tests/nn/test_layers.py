"""What every layer of ostinato.nn promises, torch's own and the others."""

import copy
import inspect
import io
import math
import re
from pathlib import Path

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, unpack_sequence

import ostinato
from ostinato import cells, nn, states
from ostinato.cells.structure import flatten
from ostinato.drivers import Recurrent, generate, truncated
from ostinato.interchange import torch_cells
from ostinato.nn.torch_layers import TorchLayers
from ostinato.wrappers import Bidirectional, Stack, Zoneout

I, H, B, T = 3, 4, 3, 6  # noqa: E741
LENGTHS = torch.tensor([4, 0, 6])

LAYERS = {
    "lstm": (nn.LSTM, {}),
    "lstm-projected": (nn.LSTM, {"proj_size": 2, "projection_clip": 0.9, "cell_clip": 2.0}),
    "lstm-peepholes": (nn.LSTM, {"peepholes": True, "coupled": True, "bias": False}),
    "lstm-forget-bias": (nn.LSTM, {"forget_bias": 1.5, "activation": "relu"}),
    "lstm-forget-bias-stored": (nn.LSTM, {"forget_bias": 1.5, "forget_bias_stored": True}),
    "gru": (nn.GRU, {}),
    "gru-before": (nn.GRU, {"reset_after": False, "gate_activation": "hard_sigmoid"}),
    "rnn": (nn.RNN, {"nonlinearity": "softsign"}),
    "rnn-own-function": (nn.RNN, {"nonlinearity": torch.sin}),
    "sru": (nn.SRU, {"highway": True}),
    "sru2": (nn.SRU2, {"highway_bias": -1.0}),
    "layer-norm-lstm": (nn.LayerNormLSTM, {"epsilon": 1e-5}),
    "split-layer-norm-lstm": (nn.SplitLayerNormLSTM, {}),
    "layer-norm-gru": (nn.LayerNormGRU, {}),
    "qrnn": (nn.QRNN, {"pooling": "ifo"}),
    "qrnn-window": (nn.QRNN, {"window": 2}),
    "indrnn": (nn.IndRNN, {"activation": "tanh"}),
    "min-gru": (nn.MinGRU, {}),
    "min-lstm": (nn.MinLSTM, {}),
    "ugrnn": (nn.UGRNN, {}),
    "lru": (nn.LRU, {"state_size": 2, "r_max": 0.9}),
}

every_layer = pytest.mark.parametrize("name", LAYERS)
both_ways = pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "both-ways"])


ROOT = Path(__file__).parents[2]


def layer_of(name, row="auto", seed=0, **options):
    """Two layers in float64, batch first, every weight random."""
    kind, own = LAYERS[name]
    options = {"num_layers": 2, "batch_first": True, "dtype": torch.float64} | own | options
    layer = kind(I, H, row=row, **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.5)
    return layer


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def close(got, expected):
    (left, how), (right, too) = flatten(got), flatten(expected)
    assert how == too
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def by_hand(layer):
    """The same, made of the library's parts, with copies of the weights."""
    made = []
    width = I
    for k in range(layer.num_layers):
        parts = []
        for suffix in [f"_l{k}", f"_l{k}_reverse"][: 1 + layer.bidirectional]:
            cell = layer.cell_type(width, H, **layer.cell_options()).double()
            held = {
                n.removesuffix(suffix): w for n, w in layer.named_parameters() if n.endswith(suffix)
            }
            own = torch_cells.from_torch(cell, held) if isinstance(layer, TorchLayers) else held
            cell.load_state_dict({n: w.detach() for n, w in own.items()})
            parts.append(Recurrent(cell, reverse=suffix.endswith("reverse")))
        made.append(Bidirectional(*parts) if layer.bidirectional else parts[0])
        width = made[-1].output_size
    return Stack(made)


def cells_of(state):
    """The cells' states of nested ones, in order."""
    if isinstance(state[0], torch.Tensor):
        return [state]
    return [one for part in state for one in cells_of(part)]


def test_every_cell_has_a_layer():
    kinds = [getattr(nn, name) for name in nn.__all__ if name != "RecurrentLayers"]
    assert {kind.cell_type for kind in kinds} == {*cells.CELLS.values()} - {cells.ConvLSTM}
    assert set(kinds) == {kind for kind, _ in LAYERS.values()}


def test_the_table_on_the_page_is_that_of_the_library():
    page = (ROOT / "docs/nn.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.*?) \| (.*)\|$", page, re.MULTILINE)
    assert {row[0] for row in rows} == {*nn.__all__} - {"RecurrentLayers"}
    for name, cell, state, options in rows:
        kind = getattr(nn, name)
        assert cell == kind.cell_type.__name__
        expected = list(inspect.signature(kind.cell_type).parameters)[2:]
        assert set(expected) <= set(re.findall(r"`(\w+)`", options)), name
        fields = kind.cell_type(2, 3).State._fields
        assert re.findall(r"(\w+)_n", state.split(";")[0]) == list(fields)


@both_ways
@every_layer
@pytest.mark.parametrize("row", ["reference", "program"])
def test_it_is_what_it_is_made_of(name, bidirectional, row):
    layer = layer_of(name, row, bidirectional=bidirectional)
    x, resets = draw(B, T, I), torch.rand(B, T) < 0.3
    expected, nested = by_hand(layer)(x, lengths=LENGTHS, resets=resets)
    output, state = layer(x, lengths=LENGTHS, resets=resets)
    close(output, expected)
    for n, own in enumerate(cells_of(nested)):
        parts = state if len(own) > 1 else [state]
        for field, whole in zip(own, parts, strict=True):
            close(whole[n] if isinstance(whole, torch.Tensor) else whole[n][0], field)


@every_layer
def test_steps_and_chunks_make_the_whole(name):
    layer, x = layer_of(name), draw(B, T, I)
    whole, last = layer(x)
    state, chunks = None, []
    for chunk in x.split([1, 3, 2], 1):
        output, state = layer(chunk, state)
        chunks.append(output)
    close((torch.cat(chunks, 1), state), (whole, last))
    state, steps = None, []
    for x_t in x.unbind(1):
        output, state = layer.step(x_t, state)
        steps.append(output)
    close((torch.stack(steps, 1), state), (whole, last))
    state = None
    for x_t in x[0]:
        output, state = layer.step(x_t, state)
    alone, end = layer(x[0])
    close((output, state), (alone[-1], end))


@both_ways
@every_layer
def test_time_first_alone_and_packed(name, bidirectional):
    layer, x = layer_of(name, bidirectional=bidirectional), draw(B, T, I)
    other = layer_of(name, bidirectional=bidirectional, batch_first=False)
    whole, last = layer(x)
    output, state = other(x.transpose(0, 1))
    close((output.transpose(0, 1), state), (whole, last))
    for n in range(B):
        output, state = layer(x[n])
        close(output, whole[n])
        close(tuple(flatten(state)[0]), tuple(each[:, n] for each in flatten(last)[0]))
    lengths = torch.tensor([4, 1, 6])
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    padded, ends = layer(x, lengths=lengths)
    output, state = layer(packed)
    for n, row in enumerate(unpack_sequence(output)):
        close(row, padded[n, : lengths[n]])
    close(state, ends)


@both_ways
@every_layer
def test_lengths(name, bidirectional):
    layer = layer_of(name, bidirectional=bidirectional)
    padding = torch.arange(T) >= LENGTHS[:, None]
    x = draw(B, T, I).masked_fill(padding[..., None], math.nan).requires_grad_()
    output, last = layer(x, lengths=LENGTHS)
    close(layer(x, lengths=LENGTHS.tolist()), (output, last))
    assert output[padding].eq(0).all()
    assert torch.autograd.grad(output.sum(), x)[0].isfinite().all()
    for n, length in enumerate(LENGTHS.tolist()):
        alone, end = layer(x[n], lengths=torch.tensor(length))
        close((alone, output[n, length:]), (output[n], output[n, length:]))
        close(tuple(flatten(end)[0]), tuple(each[:, n] for each in flatten(last)[0]))
        close(layer(x[n, :length])[0], output[n, :length])


@both_ways
@every_layer
def test_resets(name, bidirectional):
    """As long as nothing above sees over the cut, which only one layer in one direction ensures."""
    layer = layer_of(name, bidirectional=bidirectional)
    x, resets = draw(1, T, I), torch.tensor([[False, False, True, False, True, False]])
    parts = torch.cat([layer(part)[0] for part in x.split([2, 2, 2], 1)], 1)
    close(layer(x, resets=resets)[0], parts)
    close(layer(x[0], resets=resets[0])[0], parts[0])
    other = layer_of(name, bidirectional=bidirectional, batch_first=False)
    close(other(x.transpose(0, 1), resets=resets.t())[0].transpose(0, 1), parts)
    packed = pack_padded_sequence(x.transpose(0, 1), torch.tensor([T]))
    close(other(packed, resets=resets.t())[0].data, parts[0])
    packed = pack_padded_sequence(x, torch.tensor([T]), batch_first=True)
    close(layer(packed, resets=resets)[0].data, parts[0])


@both_ways
@every_layer
def test_a_learned_initial_state(name, bidirectional):
    fresh = layer_of(name, bidirectional=bidirectional)
    layer = layer_of(name, bidirectional=bidirectional, learn_initial_state=True)
    starts = [w for n, w in layer.named_parameters() if "_0_l" in n]
    fields = layer._places()[0].cell.State._fields
    assert len(starts) == len(fields) * 2 * (1 + bidirectional)
    x, resets = draw(B, T, I), torch.rand(B, T) < 0.3
    output, last = layer(x, resets=resets)
    assert all(each.any() for each in torch.autograd.grad(output.square().sum(), starts))
    close(layer(x, layer.initial_state(B), resets=resets), (output, last))
    with torch.no_grad():
        for start in starts:
            start.zero_()
    again = dict(layer.named_parameters())
    fresh.load_state_dict({n: again[n].detach() for n in fresh.state_dict()})
    close(layer(x, resets=resets), fresh(x, resets=resets))
    torch.nn.init.ones_(starts[0])
    layer.reset_parameters()
    assert not any(start.any() for start in starts)


@every_layer
def test_first_weights_are_the_cells(name):
    kind, options = LAYERS[name]
    torch.manual_seed(2)
    layer = kind(I, H, **options)
    if isinstance(layer, TorchLayers):
        for weight_name, weight in layer.named_parameters():
            own = not weight_name.startswith(("weight_", "bias_"))
            stored = options.get("forget_bias_stored") and weight_name.startswith("bias_")
            assert own or stored or weight.abs().max() <= H**-0.5
            assert not own or not weight.any()
    else:
        torch.manual_seed(2)
        cell = kind.cell_type(I, H, **options)
        for weight_name, weight in cell.named_parameters():
            assert torch.equal(weight, getattr(layer, weight_name + "_l0"))


def test_a_stored_forget_bias():
    layer = nn.LSTM(I, H, 2, forget_bias=2.0, forget_bias_stored=True, bidirectional=True)
    coupled = nn.LSTM(I, H, forget_bias=2.0, forget_bias_stored=True, coupled=True)
    for each, part in ((layer, slice(H, 2 * H)), (coupled, slice(0, H))):
        for weight_name, weight in each.named_parameters():
            if weight_name.startswith("bias_"):
                assert (weight[part] == (2.0 if "ih" in weight_name else 0.0)).all()
                assert weight.unique().numel() > H


@both_ways
@every_layer
def test_gradients_are_numerically_right(name, bidirectional):
    layer = layer_of(name, bidirectional=bidirectional, learn_initial_state=True)
    lengths, resets = torch.tensor([3, 2]), torch.tensor([[False, True, False], [False] * 3])

    def function(x, *weights):
        named = dict(zip(dict(layer.named_parameters()), weights, strict=True))
        marks = {"lengths": lengths, "resets": resets}
        output, state = torch.func.functional_call(layer, named, (x,), marks)
        return output, *flatten(state)[0]

    weights = [each.detach().requires_grad_() for each in layer.parameters()]
    given = (draw(2, 3, I).requires_grad_(), *weights)
    assert torch.autograd.gradcheck(function, given, fast_mode=True)


@every_layer
def test_copies_and_files(name):
    layer, x = layer_of(name, bidirectional=True, learn_initial_state=True), draw(B, T, I)
    file = io.BytesIO()
    options = LAYERS[name][1]
    if not callable(options.get("nonlinearity")):
        torch.save(layer, file)
    file.seek(0)
    copies = [
        copy.deepcopy(layer),
        *([torch.load(file, weights_only=False)] if file.getvalue() else []),
    ]
    loaded = layer_of(name, seed=1, bidirectional=True, learn_initial_state=True)
    loaded.load_state_dict(layer.state_dict())
    for other in (*copies, loaded):
        close(other(x), layer(x))


@every_layer
@pytest.mark.parametrize("shape", [(0, 4), (2, 0), (1, 1)])
def test_any_batch_and_any_time(name, shape):
    layer = layer_of(name, bidirectional=True)
    output, state = layer(draw(*shape, I).requires_grad_())
    assert output.shape == (*shape, layer.output_size)
    assert all(each.shape[1] == shape[0] for each in flatten(state)[0])
    output.sum().backward()
    close(layer(draw(2, 0, I))[1], layer.initial_state(2))


@every_layer
def test_states_are_kept_cut_and_put_back(name, tmp_path):
    layer, x = layer_of(name, learn_initial_state=True), draw(B, T, I)
    _, state = layer(x)
    states.save(tmp_path / "state", state)
    close(states.load(tmp_path / "state"), states.detach(state))
    which = torch.tensor([True, False, True])
    back = states.reset(state, which, layer.initial_state(B), dim=1)
    output, _ = layer(x, back)
    close(output[which], layer(x)[0][which])
    close(output[1], layer(x, state)[0][1])
    close(layer(x[1:2], states.rows(state, [1], dim=1))[0], output[1:2])


def test_row_and_recompute_reach_the_walk():
    layer = nn.GRU(I, H, 2, bidirectional=True, row="reference", recompute="sqrt")
    found = [part for each in layer.layers() for part in each.modules() if isinstance(part, Recurrent)]
    assert [(part.row, part.recompute, part.reverse) for part in found] == [
        ("reference", "sqrt", False),
        ("reference", "sqrt", True),
    ] * 2
    assert (
        str(layer)
        == f"GRU({I}, {H}, num_layers=2, bidirectional=True, row='reference', recompute='sqrt')"
    )


def test_options_are_printed():
    assert str(nn.LSTM(3, 4, proj_size=2, peepholes=True, learn_initial_state=True)) == (
        "LSTM(3, 4, learn_initial_state=True, peepholes=True, proj_size=2)"
    )
    assert str(nn.SRU(3, 4, highway=True)) == "SRU(3, 4, highway=True)"


def test_a_cell_of_ones_own():
    class Leaky(cells.Cell):
        State = cells.HiddenState

        def __init__(self, input_size, hidden_size, leak=0.9):
            super().__init__(input_size, hidden_size)
            self.leak = leak
            self.W = torch.nn.Parameter(torch.empty(input_size, hidden_size))
            self.reset_parameters()

        def reset_parameters(self):
            torch.nn.init.ones_(self.W)

        def step(self, x, state):
            h = self.leak * state.h + x @ self.W
            return h, cells.HiddenState(h)

    class LeakyLayers(nn.RecurrentLayers):
        cell_type = Leaky

    layer = LeakyLayers(1, 2, 2, leak=0.5)
    assert [name for name, _ in layer.named_parameters()] == ["W_l0", "W_l1"]
    output, state = layer(torch.ones(3, 1, 1))
    assert torch.equal(output[:, 0, 0], torch.tensor([2.0, 4.0, 5.5]))
    assert torch.equal(state[1, 0], output[2, 0])


def test_a_cell_made_of_modules():
    class Deep(cells.Cell):
        State = cells.HiddenState

        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            self.read = torch.nn.Linear(input_size + hidden_size, hidden_size)

        def reset_parameters(self):
            self.read.reset_parameters()

        def step(self, x, state):
            h = torch.tanh(self.read(torch.cat([x, state.h], -1)))
            return h, cells.HiddenState(h)

    class DeepLayers(nn.RecurrentLayers):
        cell_type = Deep

    layer, x = DeepLayers(I, H, 2, batch_first=True, dtype=torch.float64), draw(B, T, I)
    assert list(dict(layer.named_parameters())) == [
        "read_weight_l0",
        "read_bias_l0",
        "read_weight_l1",
        "read_bias_l1",
    ]
    parts = [Recurrent(Deep(I, H)), Recurrent(Deep(H, H))]
    for k, part in enumerate(parts):
        part.double().cell.read.weight = getattr(layer, f"read_weight_l{k}")
        part.cell.read.bias = getattr(layer, f"read_bias_l{k}")
    close(layer(x)[0], Stack(parts)(x)[0])


class ZoneoutLSTM(nn.RecurrentLayers):
    @staticmethod
    def cell_type(input_size, hidden_size, zoneout=0.3):
        return Zoneout(cells.LSTM(input_size, hidden_size), zoneout)


def test_a_cell_that_is_wrapped():
    """Its masks are counted in the state, and so go on from chunk to chunk and from step to step."""
    layer = ZoneoutLSTM(I, H, 2, zoneout=0.5, batch_first=True, dtype=torch.float64)
    x = draw(B, T, I)
    torch.manual_seed(4)
    whole, last = layer(x)
    torch.manual_seed(4)
    first, state = layer(x[:, :2])
    second, state = layer(x[:, 2:], state)
    close((torch.cat([first, second], 1), state), (whole, last))
    torch.manual_seed(4)
    state, steps = None, []
    for x_t in x.unbind(1):
        output, state = layer.step(x_t, state)
        steps.append(output)
    close((torch.stack(steps, 1), state), (whole, last))
    assert not torch.equal(layer(x)[0], layer(x)[0])


def test_training_and_evaluation_reach_the_cells():
    layer, x = ZoneoutLSTM(I, H, bidirectional=True, dtype=torch.float64), draw(T, B, I)
    torch.nn.Sequential(layer).eval()
    evaluated = layer(x)[0]
    assert torch.equal(layer(x)[0], evaluated)
    assert torch.equal(copy.deepcopy(layer)(x)[0], evaluated)
    layer.train()
    assert not torch.equal(layer(x)[0], evaluated)


def test_row_is_chosen_once():
    with pytest.raises(AttributeError, match="row"):
        nn.GRU(I, H).row = "program"


def test_explain_says_who_runs_it(capsys):
    layer = torch.nn.Sequential(nn.LSTM(3, 4, 2, bidirectional=True))
    ostinato.explain(layer, torch.zeros(1, 1, 3))
    said = capsys.readouterr().out
    for name in ("0.l0: LSTM(", "0.l0_reverse: ", "0.l1: ", "0.l1_reverse: "):
        assert name in said
    assert "row native" in said


def test_drivers_take_layers_that_are_batch_first():
    layer, x = layer_of("lstm"), draw(B, T, I)
    whole, last = layer(x)
    parts = list(truncated(layer, x, 4))
    close(torch.cat([output for output, *_ in parts], 1), whole)
    close(parts[-1][1], last)
    output, _, _ = generate(layer_of("gru"), x[:, 0], feed=lambda y: y[:, :I], steps=3)
    assert output.shape == (B, 3, H)
    for driver in (
        lambda layer: truncated(layer, x, 2),
        lambda layer: generate(layer, x[:, 0], feed=lambda y: y, steps=1),
    ):
        with pytest.raises(ostinato.errors.OptionError, match="got LSTM with bidirectional=True"):
            driver(nn.LSTM(I, H, bidirectional=True, batch_first=True))
        with pytest.raises(
            ostinato.errors.OptionError, match="batch-first.*LSTM with batch_first=False"
        ):
            driver(torch.nn.Sequential(nn.LSTM(I, H)))


def test_a_stack_takes_them():
    layer = Stack([layer_of("sru", bidirectional=True), Recurrent(cells.GRU(2 * H, 2).double())])
    output, _ = layer(draw(B, T, I), lengths=LENGTHS)
    assert output.shape == (B, T, 2)
