"""Layers of torch.nn and of this library, converted both ways: same numbers at 1e-9."""

import copy
import re

import pytest
import torch
from torch import nn

from ostinato.cells import GRU, LSTM, SRU, Elman
from ostinato.cells.structure import flatten
from ostinato.drivers import Recurrent
from ostinato.errors import WeightsError
from ostinato.interchange import from_torch, layer_from_torch, layer_to_torch, to_torch
from ostinato.wrappers import Bidirectional, Stack

B, T, I, H = 3, 6, 4, 5  # noqa: E741


def torch_layers():
    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        for options in (
            {},
            {"bias": False},
            {"num_layers": 3, "dropout": 0.2},
            {"bidirectional": True},
            {"num_layers": 2, "bidirectional": True, "bias": False},
        ):
            yield kind, options
    yield nn.RNN, {"nonlinearity": "relu", "num_layers": 2}
    yield nn.LSTM, {"proj_size": 3}
    yield nn.LSTM, {"proj_size": 2, "num_layers": 2, "bidirectional": True}


every_layer = pytest.mark.parametrize(
    ("kind", "options"),
    list(torch_layers()),
    ids=lambda each: each.__name__ if isinstance(each, type) else "-".join(each) or "plain",
)


def pair(make):
    return Bidirectional(Recurrent(make(I, H)), Recurrent(make(I, H), reverse=True))


OURS = {
    "lstm": lambda: Recurrent(LSTM(I, H, forget_bias=0.0)),
    "lstm-forget-bias": lambda: Recurrent(LSTM(I, H)),
    "lstm-forget-bias-stored": lambda: Recurrent(LSTM(I, H, forget_bias_stored=True)),
    "lstm-projection": lambda: Recurrent(LSTM(I, H, projection=2)),
    "gru": lambda: Recurrent(GRU(I, H, reset_after=True)),
    "elman-relu": lambda: Recurrent(Elman(I, H, activation="relu")),
    "both": lambda: pair(LSTM),
    "stack": lambda: Stack([pair(Elman), Stack([Bidirectional(*both_above())])], dropout=0.3),
}


def both_above():
    return Recurrent(Elman(2 * H, H)), Recurrent(Elman(2 * H, H), reverse=True)


def randomised(layer):
    torch.manual_seed(1)
    for weight in layer.double().parameters():
        nn.init.normal_(weight, std=0.5)
    return layer


def in_torchs_form(state):
    """`h_n`, or `(h_n, c_n)`, of nested states."""
    rows = []

    def walk(part):
        if hasattr(part, "h"):
            rows.append(part)
        else:
            for each in part:
                walk(each)

    walk(state)
    return [torch.stack(field) for field in zip(*rows, strict=True)]


def agree(ours, theirs):
    """Evaluated on the same x: outputs, last states, gradients."""
    x = torch.randn(B, T, I, dtype=torch.float64)
    results = []
    for layer in (ours.eval(), theirs.eval()):
        inputs = x.clone().requires_grad_()
        outputs, state = layer(inputs)
        fields = in_torchs_form(state) if layer is ours else flatten(state)[0]
        loss = outputs.sin().sum() + sum((each * (n + 2)).cos().sum() for n, each in enumerate(fields))
        layer.zero_grad()
        loss.backward()
        results.append([outputs, *fields, inputs.grad])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def gradients_agree(ours, theirs):
    """Our gradients, converted as weights are, are torch's; each of its two biases has that of ours."""
    told = copy.deepcopy(ours)
    for weight, other in zip(told.parameters(), ours.parameters(), strict=True):
        weight.data = other.grad
    for cell in (each.cell for each in told.modules() if isinstance(each, Recurrent)):
        if isinstance(cell, LSTM):
            cell.forget_bias = 0.0
    expected = dict(theirs.named_parameters())
    for name, each in to_torch(told).items():
        if name in expected:
            # Of two biases that are added, torch's second has the gradient of both, and ours is one.
            own = slice(2 * H, None) if name.startswith("bias_hh") else slice(None)
            if own.start is None or isinstance(theirs, nn.GRU):
                torch.testing.assert_close(each[own], expected[name].grad[own], rtol=1e-9, atol=1e-9)


@every_layer
def test_from_torch(kind, options):
    theirs = randomised(kind(I, H, batch_first=True, **options))
    before = copy.deepcopy(theirs.state_dict())
    ours = layer_from_torch(theirs)
    agree(ours, theirs)
    gradients_agree(ours, theirs)
    told = {"nonlinearity": options["nonlinearity"]} if "nonlinearity" in options else {}
    agree(layer_from_torch(theirs.state_dict(), **told), theirs)
    with torch.no_grad():
        next(ours.parameters()).zero_()
    assert all(torch.equal(each, before[name]) for name, each in theirs.state_dict().items())


@pytest.mark.parametrize("make", OURS.values(), ids=OURS)
def test_to_torch(make):
    ours = randomised(make())
    theirs = layer_to_torch(ours)
    for name, each in to_torch(ours).items():
        assert torch.equal(each, theirs.state_dict()[name])
    agree(ours, theirs)
    gradients_agree(ours, theirs)


@every_layer
def test_there_and_back(kind, options):
    """What torch adds up from two biases comes back as one."""
    theirs = randomised(kind(I, H, batch_first=True, **options))
    back = layer_to_torch(layer_from_torch(theirs))
    assert type(back) is kind
    assert back.dropout == theirs.dropout
    agree(layer_from_torch(back), theirs)
    again = to_torch(layer_from_torch(back))
    for name, each in back.state_dict().items():
        assert torch.equal(each, again[name]), name


@pytest.mark.parametrize("name", ["lstm-forget-bias", "both", "stack", "gru", "lstm-projection"])
def test_into_a_layer_that_exists(name):
    theirs = layer_to_torch(randomised(OURS[name]()))
    for source in (theirs, theirs.state_dict()):
        into = randomised(OURS[name]())
        nn.init.zeros_(next(into.parameters()))
        assert from_torch(into, source) == ()
        agree(into, theirs)


def test_into_a_cell_and_out_of_one():
    theirs = randomised(nn.LSTM(I, H, batch_first=True))
    cell = LSTM(I, H).double()
    from_torch(cell, theirs)
    agree(Recurrent(cell), theirs)
    agree(Recurrent(cell), layer_to_torch(cell))


def test_a_learned_start_stays():
    theirs = randomised(nn.LSTM(I, H, batch_first=True))
    into = randomised(Recurrent(LSTM(I, H).learn_initial_state()))
    kept = {name: getattr(into.cell, name).clone() for name in ("h_0", "c_0")}
    from_torch(into, theirs)
    for name, each in kept.items():
        assert torch.equal(each, getattr(into.cell, name))
        nn.init.zeros_(getattr(into.cell, name))
    agree(into, theirs)


def test_a_part_of_a_greater_state_dict():
    parts = {"embedding": nn.Linear(2, 2), "rnn": nn.GRU(I, H, batch_first=True)}
    model = nn.ModuleDict({"encoder": nn.ModuleDict(parts)}).double()
    agree(layer_from_torch(model.state_dict(), scope="encoder.rnn"), parts["rnn"])
    unused = from_torch(GRU(I, H, reset_after=True), model.state_dict(), scope="encoder.rnn")
    assert unused == ("encoder.embedding.weight", "encoder.embedding.bias")


def test_device_and_dtype_are_the_sources():
    assert layer_from_torch(nn.GRU(I, H).bfloat16()).cell.W_x.dtype == torch.bfloat16
    assert layer_to_torch(Recurrent(Elman(I, H)).double()).weight_ih_l0.dtype == torch.float64


def test_training_and_dropout_go_along():
    theirs = nn.LSTM(I, H, 2, dropout=0.25).eval()
    ours = layer_from_torch(theirs)
    assert layer_to_torch(ours).dropout == 0.25
    assert not ours.training
    assert not layer_to_torch(ours).training


def changed(name, value):
    """The state dict of a torch layer with one name changed, or gone."""
    weights = nn.LSTM(I, H, 2).state_dict()
    weights.pop(name, None)
    return weights | ({} if value is None else value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (changed("bias_hh_l1", None), "weights do not fit: bias_hh_l1 [20] is missing."),
        (
            changed("bias_hh_l1", {"bias_hh_11": torch.zeros(20)}),
            'bias_hh_11 is not expected; did you mean "bias_hh_l1"?; bias_hh_l1 [20] is missing',
        ),
        (
            changed("weight_ih_l1", {"weight_ih_l1": torch.zeros(20, 4)}),
            "expected [20, 5], got [20, 4]",
        ),
        (changed("weight_ih_l0", None), '"weight_ih_l0" is missing; found bias_hh_l0, bias_hh_l1'),
        ({}, '"weight_ih_l0" is missing; found no names. If they are a part of a greater whole, say'),
        (
            {"weight_ih_l0": torch.zeros(10, 4), "weight_hh_l0": torch.zeros(10, 5)},
            "expected 5, 15 or 20 rows (RNN, GRU or LSTM of the width that weight_hh_l0 says, H=5)",
        ),
        (nn.Linear(2, 3), "Expected a torch.nn.LSTM, GRU or RNN, or a state dict, got Linear."),
    ],
)
def test_weights_that_do_not_fit_are_told(source, words):
    with pytest.raises(WeightsError, match=re.escape(words)):
        layer_from_torch(source)


def test_another_layer_than_the_weights_is_told():
    into = Recurrent(GRU(I, H, reset_after=True))
    before = copy.deepcopy(into.state_dict())
    with pytest.raises(WeightsError, match=r"bias_hh_l0: expected \[15\], got \[20\]"):
        from_torch(into, nn.LSTM(I, H))
    assert all(torch.equal(each, before[name]) for name, each in into.state_dict().items())
    with pytest.raises(WeightsError, match="SRU: torch.nn has no such layer"):
        from_torch(Recurrent(SRU(I, H)), nn.LSTM(I, H))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Recurrent(SRU(I, H)), "SRU: torch.nn has no such layer. It has what LSTM, GRU and Elman are"),
        (Recurrent(GRU(I, H)), "GRU: torch.nn has no reset_after=False; expected True"),
        (Recurrent(Elman(I, H, "elu")), "no activation='elu'; expected 'tanh' or 'relu'"),
        (Recurrent(Elman(I, H, torch.sin)), "no activation=<built-in"),
        (Recurrent(LSTM(I, H, peepholes=True)), "nothing for the weights p_i, p_f, p_o (p_… are"),
        (Recurrent(LSTM(I, H).learn_initial_state()), "nothing for the weights h_0, c_0"),
        (Recurrent(LSTM(I, H, coupled=True)), "no coupled=True"),
        (Recurrent(LSTM(I, H, cell_clip=1.0)), "no cell_clip=1.0; expected None"),
        (Recurrent(LSTM(I, H, projection=2, projection_clip=1.0)), "no projection_clip=1.0"),
        (Recurrent(LSTM(I, H, gate_activation="relu")), "no gate_activation='relu'"),
        (Recurrent(LSTM(I, H, output_activation="relu")), "no output_activation='relu'"),
        (Recurrent(LSTM(I, H, projection=9)), "less than hidden_size=5, got projection=9"),
        (Recurrent(LSTM(I, H), reverse=True), "got Recurrent(reverse=True)"),
        (Bidirectional(*both_above(), torch.add, H), "Bidirectional of two that concatenates"),
        (nn.Linear(2, 3), "got Linear(in_features=2, out_features=3, bias=True)"),
        (Stack([Recurrent(LSTM(I, H)), Recurrent(Elman(H, H))]), "one kind of cell throughout"),
        (Stack([Recurrent(Elman(I, H)), Recurrent(Elman(H, 6))]), "one hidden_size throughout"),
        (
            Stack([Recurrent(LSTM(I, H, projection=2)), Recurrent(LSTM(2, H))]),
            "one width of outputs throughout, here there are 2, 5",
        ),
        (Stack([Recurrent(Elman(I, H)), Recurrent(Elman(H, H, "relu"))]), "one activation throughout"),
        (Stack([pair(LSTM), Recurrent(LSTM(2 * H, H))]), "either all parts read in both directions"),
    ],
)
def test_what_torch_cannot_express_is_named(layer, words):
    with pytest.raises(WeightsError, match=re.escape(words)):
        layer_to_torch(layer)


def test_options_that_torch_lacks_take_no_weights():
    for cell, words in (
        (LSTM(I, H, peepholes=True), "nothing for the weights p_i, p_f, p_o"),
        (LSTM(I, H, cell_clip=1.0), "no cell_clip=1.0"),
    ):
        with pytest.raises(WeightsError, match=words):
            from_torch(cell, nn.LSTM(I, H))
