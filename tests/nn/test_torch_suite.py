"""What PyTorch's own suite asks of its recurrent layers, asked of these.

Ported as facts: shapes, cases and what is to come out of them; the code is ours. Each test names those
of `test/test_nn.py`, `test/nn/test_packed_sequence.py` or `torch.testing._internal.common_modules` that
ask the same. What does not apply is listed, with the reason, in docs/nn.md.
"""

import copy
import io
import warnings
from itertools import product

import pytest
import torch
from torch.nn.utils import parametrizations, parametrize, prune, rnn

from ostinato import nn

MODES = ("RNN", "GRU", "LSTM")

every_mode = pytest.mark.parametrize("mode", MODES)
both_ways = pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "both-ways"])


def states(mode, *shape, projected=None):
    """What a layer takes as hx."""
    if mode != "LSTM":
        return torch.randn(*shape)
    return torch.randn(*shape[:-1], projected or shape[-1]), torch.randn(*shape)


def flat(state):
    return state if isinstance(state, tuple) else (state,)


def fill(layer, value):
    for weight in layer.parameters():
        torch.nn.init.constant_(weight, value)


@every_mode
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_state_that_does_not_fit(mode, axis):
    """test_rnn_args_check, test_projections_lstm_args_check: 7 in the place of L, B or H."""
    for projection in {0, 2 if mode == "LSTM" else 0}:
        options = {"proj_size": projection} if projection else {}
        layer = getattr(nn, mode)(3, 5, 2, **options)
        good = states(mode, 2, 4, 5, projected=projection)
        for bad in range(len(flat(good))):
            shape = list(flat(good)[bad].shape)
            shape[axis] = 7
            given = list(flat(good))
            given[bad] = torch.randn(shape)
            with pytest.raises(RuntimeError, match=f"{mode}: expected [hc]_0 of shape"):
                layer(torch.randn(6, 4, 3), tuple(given) if mode == "LSTM" else given[0])


@every_mode
@pytest.mark.parametrize("shape", [(6, 4, 7), (6, 7, 3)])
def test_an_input_that_does_not_fit(mode, shape):
    """test_rnn_args_check: I=7 where 3 is expected, B=7 where the state has 4."""
    with pytest.raises(RuntimeError, match="expected"):
        getattr(nn, mode)(3, 5, 2)(torch.randn(shape), states(mode, 2, 4, 5))


@both_ways
@every_mode
def test_no_state_is_zeros(mode, bidirectional):
    """test_rnn_initial_hidden_state, test_projections_lstm_initial_hidden_state."""
    for projection in {0, 10 if mode == "LSTM" else 0}:
        options = {"proj_size": projection} if projection else {}
        layer = getattr(nn, mode)(30, 20, 2, bidirectional=bidirectional, **options)
        x, rows = torch.randn(10, 32, 30), 4 if bidirectional else 2
        zeros = states(mode, rows, 32, 20, projected=projection)
        zeros = tuple(map(torch.zeros_like, zeros)) if mode == "LSTM" else torch.zeros_like(zeros)
        (a, last), (b, other) = layer(x), layer(x, zeros)
        assert torch.equal(a, b)
        assert all(map(torch.equal, flat(last), flat(other)))


@pytest.mark.parametrize("mode", ["RNN", "GRU"])
def test_a_projection_is_the_lstms(mode):
    """test_projections_errors_on_gru_and_rnn."""
    with pytest.raises(ValueError, match=f"{mode}: an LSTM alone has a proj_size"):
        getattr(nn, mode)(30, 20, 2, proj_size=10)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("p", [0, 0.276, 0.731, 1])
def test_dropout_is_between_layers(p, training):
    """test_RNN_dropout: weights of one, so that what is put out counts what was not dropped."""
    layer = nn.RNN(10, 1000, 2, bias=False, dropout=p, nonlinearity="relu").train(training)
    fill(layer, 1)
    output, state = layer(torch.ones(1, 1, 10), torch.zeros(2, 1, 1000))
    assert output.min() == output.max()
    if p == 0 or not training:
        assert output[0, 0, 0] == 10_000
    elif p == 1:
        assert output[0, 0, 0] == 0
    else:
        assert 8_000 < output[0, 0, 0] < 12_000
        kept = output[0, 0, 0].item() * (1 - p) / 10
        assert kept == pytest.approx(round(kept), abs=1e-3)
    assert state[0].min() == state[0].max() == 10
    assert torch.equal(state[1], output[0])


@pytest.mark.parametrize("training", [True, False])
def test_dropout_may_be_changed(training):
    """test_RNN_change_dropout: the attribute is read at each call."""
    layer = nn.RNN(100, 100, 2, dropout=0, nonlinearity="relu").train(training)
    x, before = torch.rand(3, 2, 100), None
    for p in (0, 0.5, 0, 0.7, 0.2, 1, 0.2, 0):
        layer.dropout = p
        output, state = layer(x)
        again, other = layer(x)
        assert torch.equal(output, again) == (p in (0, 1) or not training)
        assert torch.equal(state, other) == (p in (0, 1) or not training)
        assert before is None or torch.equal(output, before) == (not training)
        before = output


@pytest.mark.parametrize("p", [0, 0.1234])
def test_dropout_goes_through_a_file(p):
    """test_RNN_dropout_state: a layer read back drops as before, and draws anew."""
    layer = nn.RNN(100, 100, 2, bias=False, dropout=p, nonlinearity="relu")
    x, hx = torch.rand(1, 1, 100), torch.rand(2, 1, 100)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    again.flatten_parameters()
    assert torch.equal(layer(x, hx)[0], again(x, hx)[0]) == (p == 0)
    assert torch.equal(layer.eval()(x, hx)[0], again.eval()(x, hx)[0])


@every_mode
def test_dropout_of_one_layer_warns(mode):
    """The warning of RNNBase."""
    with pytest.warns(UserWarning, match="dropout=0.5 acts between layers, and there is one layer"):
        getattr(nn, mode)(2, 3, dropout=0.5)


@pytest.mark.parametrize("p", [-0.1, 1.1, True, "a"])
def test_dropout_is_a_share(p):
    with pytest.raises(ValueError, match="dropout is the share dropped, 0 to 1, got"):
        nn.LSTM(2, 3, 2, dropout=p)


@every_mode
def test_an_empty_batch(mode):
    """test_RNN_input_size_zero: [5, 0, 3] in, [5, 0, 4] out, and a backward pass."""
    layer = getattr(nn, mode)(3, 4)
    output, _ = layer(torch.zeros(5, 0, 3))
    assert output.shape == (5, 0, 4)
    output.sum().backward()


def test_the_nonlinearity():
    """test_RNN_nonlinearity, test_RNN_nonlinearity_passed_as_arg."""
    assert nn.RNN(1, 10).nonlinearity == "tanh"
    assert nn.RNN(1, 10, nonlinearity="relu").nonlinearity == "relu"
    assert nn.RNN(2, 3, 1, "relu").nonlinearity == "relu"
    with pytest.raises(ValueError, match='RNN: unknown nonlinearity "garbage"'):
        nn.RNN(1, 10, nonlinearity="garbage")


@every_mode
def test_a_graph_is_walked_back_twice(mode):
    """test_rnn_retain_variables: the same gradients each time, and after a call in between."""
    layer = getattr(nn, mode)(10, 20, num_layers=2)
    x = torch.randn(5, 6, 10, requires_grad=True)
    output, _ = layer(x)
    output.sum().backward(retain_graph=True)
    gradients = [x.grad.clone(), *(weight.grad.clone() for weight in layer.parameters())]
    for _ in range(4):
        layer.zero_grad()
        x.grad.zero_()
        output.sum().backward(retain_graph=True)
        again = [x.grad, *(weight.grad for weight in layer.parameters())]
        assert all(map(torch.equal, gradients, again))


@every_mode
@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0"])
def test_weight_norm(mode, name):
    """test_rnn_weight_norm: put on, the same numbers and two weights for one; off again."""
    layer = getattr(nn, mode)(3, 4)
    x = torch.randn(5, 2, 3)
    before, _ = layer(x)
    count = len(list(layer.parameters()))
    parametrizations.weight_norm(layer, name)
    assert len(list(layer.parameters())) == count + 1
    torch.testing.assert_close(layer(x)[0], before)
    layer(x)[0].sum().backward()
    assert getattr(layer.parametrizations, name).original1.grad.any()
    parametrize.remove_parametrizations(layer, name)
    torch.testing.assert_close(layer(x)[0], before)
    assert isinstance(getattr(layer, name), torch.nn.Parameter)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_weight_norm_of_old():
    """test_rnn_weight_norm, by the function that sets the weight before each call; a projection too."""
    for options, name in (({}, "weight_hh_l0"), ({"proj_size": 3}, "weight_hr_l0")):
        layer = nn.LSTM(10, 6, 2, **options)
        x = torch.randn(7, 6, 10)
        before, _ = layer(x)
        torch.nn.utils.weight_norm(layer, name)
        torch.testing.assert_close(layer(x)[0], before)
        torch.nn.utils.remove_weight_norm(layer, name)
        torch.testing.assert_close(layer(x)[0], before)


@every_mode
def test_pruning(mode):
    """test_rnn_pruning: half of a matrix is zero, and gets no gradient."""
    layer = getattr(nn, mode)(32, 32, num_layers=2)
    prune.l1_unstructured(layer, name="weight_ih_l0", amount=0.5)
    weight = layer.weight_ih_l0
    assert (weight == 0).sum() == weight.numel() // 2
    x = torch.randn(3, 2, 32)
    output, _ = layer(x)
    output.sum().backward()
    assert not layer.weight_ih_l0_orig.grad[weight == 0].any()
    assert layer.weight_ih_l0_orig.grad[weight != 0].any()
    prune.remove(layer, name="weight_ih_l0")
    torch.testing.assert_close(layer(x)[0], output)
    assert len(list(layer.parameters())) == len(list(getattr(torch.nn, mode)(2, 2, 2).parameters()))


def test_a_weight_taken_out_and_put_back():
    """test_partial_flat_weights: a plain tensor in the place of a parameter."""
    layer = nn.LSTM(10, 6, 2)
    x = torch.randn(3, 2, 10)
    before, _ = layer(x)
    taken = layer.weight_hh_l0
    del layer.weight_hh_l0
    assert not hasattr(layer, "weight_hh_l0")
    layer.double().float()
    layer.weight_hh_l0 = taken.detach().clone()
    assert torch.equal(layer(x)[0], before)
    assert "weight_hh_l0" not in layer.state_dict()


def packed_cases():
    return product(MODES, (False, True), (False, True), ([10, 6, 3, 3, 1], [3, 10, 1, 6, 3]))


@pytest.mark.parametrize(("mode", "bidirectional", "batch_first", "lengths"), list(packed_cases()))
def test_sequences_of_different_lengths(mode, bidirectional, batch_first, lengths):
    """test_variable_sequence, sorted and not: each row as alone, outputs, states and gradients."""
    layer = getattr(nn, mode)(3, 4, 2, bidirectional=bidirectional, batch_first=batch_first).double()
    rows = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in lengths]
    hx = states(mode, 4 if bidirectional else 2, len(rows), 4)
    hx = tuple(each.double() for each in hx) if mode == "LSTM" else hx.double()
    is_sorted = lengths == sorted(lengths, reverse=True)
    for enforce in {False, is_sorted}:
        packed = rnn.pack_sequence(rows, enforce_sorted=enforce)
        output, last = layer(packed, hx)
        assert isinstance(output, rnn.PackedSequence)
        assert torch.equal(output.batch_sizes, packed.batch_sizes)
        for one, other in zip(output[2:], packed[2:], strict=True):
            assert one is other
        gradients = torch.autograd.grad(output.data.sin().sum(), rows)
        for n, row in enumerate(rows):
            own = tuple(each[:, n] for each in flat(hx))
            alone, end = layer(row, own if mode == "LSTM" else own[0])
            torch.testing.assert_close(rnn.unpack_sequence(output)[n], alone)
            for a, b in zip(flat(last), flat(end), strict=True):
                torch.testing.assert_close(a[:, n], b)
            (gradient,) = torch.autograd.grad(alone.sin().sum(), row)
            torch.testing.assert_close(gradients[n], gradient)


def modules():
    """The sample inputs of the module database."""
    for mode, bias, batch_first, both in product(MODES, (False, True), (False, True), (False, True)):
        options = {"bias": bias, "batch_first": batch_first, "bidirectional": both}
        for more in ({"nonlinearity": "relu"}, {}) if mode == "RNN" else ({"proj_size": 2}, {}):
            if mode != "GRU" or not more:
                yield mode, options | more


@pytest.mark.parametrize(("mode", "options"), list(modules()), ids=str)
@pytest.mark.parametrize("with_state", [False, True])
def test_one_sequence_alone(mode, options, with_state):
    """module_inputs_torch_nn_RNN_GRU, …_LSTM: [3, 2] in; the same as in a batch of one."""
    layer = getattr(nn, mode)(2, 3, 2, **options)
    x, rows = torch.randn(3, 2), 4 if options["bidirectional"] else 2
    hx = states(mode, rows, 3, projected=options.get("proj_size")) if with_state else None
    batch = x.unsqueeze(0 if options["batch_first"] else 1)
    lone = None
    if with_state:
        lone = tuple(each.unsqueeze(1) for each in flat(hx))
        lone = lone if mode == "LSTM" else lone[0]
    output, last = layer(x, hx)
    expected, end = layer(batch, lone)
    assert torch.equal(output, expected.squeeze(0 if options["batch_first"] else 1))
    for a, b in zip(flat(last), flat(end), strict=True):
        assert torch.equal(a, b.squeeze(1))


@pytest.mark.parametrize(("given", "kind", "words"), [
    ((10, 0, 1), ValueError, "hidden_size must be at least 1, got 0"),
    ((10, 10, 0), ValueError, "num_layers must be at least 1, got 0"),
    ((0, 5), ValueError, "input_size must be at least 1, got 0"),
    ((-1, 5), ValueError, "input_size must be at least 1, got -1"),
    ((3.0, 5), TypeError, "input_size is a whole number, got 3.0"),
    (("10", 5), TypeError, "input_size is a whole number, got '10'"),
    ((3, 5.0), TypeError, "hidden_size is a whole number, got 5.0"),
    ((3, "5"), TypeError, "hidden_size is a whole number, got '5'"),
])  # fmt: skip
@every_mode
def test_sizes_that_are_none(mode, given, kind, words):
    """module_error_inputs_torch_nn_RNN_GRU, of the constructor."""
    with pytest.raises(kind, match=f"{mode}: {words}"):
        getattr(nn, mode)(*given)


@pytest.mark.parametrize("value", [0, 1, "True"])
@pytest.mark.parametrize("name", ["bias", "batch_first"])
@every_mode
def test_switches_that_are_none(mode, name, value):
    """module_error_inputs_torch_nn_RNN_GRU: a TypeError, as torch has it."""
    with pytest.raises(TypeError, match=f"{mode}: {name} is True or False, got {value!r}"):
        getattr(nn, mode)(3, 5, **{name: value})


@every_mode
def test_another_dtype_than_the_weights(mode):
    """module_error_inputs_torch_nn_RNN_GRU: a ValueError that says how to convert."""
    with pytest.raises(ValueError, match=r"x.to\(torch.float64\), or the layer's .to\(torch.float32\)"):
        getattr(nn, mode)(3, 5, dtype=torch.float64)(torch.randn(2, 4, 3))


@every_mode
def test_another_device_than_the_weights(mode):
    """test_rnn_check_device, test_projections_lstm_check_device: input, then state, lie elsewhere."""
    layer = getattr(nn, mode)(3, 5, 2)
    x, hx = torch.randn(6, 4, 3), states(mode, 2, 4, 5)
    far = tuple(each.to("meta") for each in hx) if mode == "LSTM" else hx.to("meta")
    for given in ((x.to("meta"), None), (x, far)):
        with pytest.raises(RuntimeError, match="on cpu, where the weights are; got meta"):
            layer(*given)
    with pytest.raises(RuntimeError, match="on meta, where the weights are; got cpu"):
        layer.to("meta")(x)


@every_mode
@pytest.mark.parametrize("shape", [(3,), (1, 2, 4, 3)])
def test_another_number_of_axes(mode, shape):
    """A ValueError in torch."""
    with pytest.raises(ValueError, match=r"\[T, B, I=3\], or \[T, I=3\] for one sequence alone, got"):
        getattr(nn, mode)(3, 5)(torch.randn(shape))


@every_mode
def test_a_state_with_another_number_of_axes(mode):
    """A batch's state beside one sequence alone, and the other way round: a RuntimeError in torch."""
    layer = getattr(nn, mode)(3, 5)
    with pytest.raises(RuntimeError, match=r"expected h_0 of shape \[1, 5\]"):
        layer(torch.randn(4, 3), states(mode, 1, 2, 5))
    with pytest.raises(RuntimeError, match=r"expected h_0 of shape \[1, B=2, 5\]"):
        layer(torch.randn(4, 2, 3), states(mode, 1, 5))


@every_mode
@both_ways
def test_gradients_and_their_gradients(mode, bidirectional):
    """test_LSTM_grad_and_gradgrad, test_GRU_grad_and_gradgrad; the module database's test_gradgrad."""
    for bias, batch_first in ((True, False), (False, True)):
        options = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
        layer = getattr(nn, mode)(2, 3, **options).double()
        x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)

        def function(x, *weights, layer=layer):
            named = dict(zip(dict(layer.named_parameters()), weights, strict=True))
            output, state = torch.func.functional_call(layer, named, (x,))
            return output, *flat(state)

        given = (x, *(weight.detach().requires_grad_() for weight in layer.parameters()))
        assert torch.autograd.gradcheck(lambda *given: function(*given), given)
        assert torch.autograd.gradgradcheck(lambda *given: function(*given)[0], given)


@every_mode
def test_factory_options(mode):
    """The module database's test_factory_kwargs: device and dtype reach every weight."""
    for options in (
        {"dtype": torch.float64},
        {"device": "meta"},
        {"device": "meta", "dtype": torch.half},
    ):
        layer = getattr(nn, mode)(2, 3, 2, bidirectional=True, learn_initial_state=True, **options)
        for weight in layer.parameters():
            assert weight.dtype == options.get("dtype", torch.float32)
            assert weight.device.type == options.get("device", "cpu")


@every_mode
def test_tensors_that_are_not_contiguous(mode):
    """test_non_contiguous_tensors."""
    layer = getattr(nn, mode)(3, 4, 2)
    hx, x = states(mode, 2, 2, 4), torch.randn(5, 2, 3)

    def spread(tensor):
        return torch.stack([torch.zeros_like(tensor), tensor], -1).select(-1, 1)

    odd = tuple(map(spread, hx)) if mode == "LSTM" else spread(hx)
    assert not spread(x).is_contiguous()
    (output, last), (other, end) = layer(x, hx), layer(spread(x), odd)
    torch.testing.assert_close(output, other)
    torch.testing.assert_close(last, end)


@every_mode
def test_copies(mode):
    """test_pickle, deepcopy, state dicts: the same numbers, and weights of their own."""
    options = {"bidirectional": True, "learn_initial_state": True}
    layer = getattr(nn, mode)(3, 4, 2, **options)
    x = torch.randn(5, 2, 3)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    other = getattr(nn, mode)(3, 4, 2, **options)
    other.load_state_dict(layer.state_dict())
    assigned = getattr(nn, mode)(3, 4, 2, device="meta", **options)
    assigned.load_state_dict(copy.deepcopy(layer.state_dict()), assign=True)
    for each in (copy.deepcopy(layer), torch.load(file, weights_only=False), other, assigned):
        assert torch.equal(each(x)[0], layer(x)[0])
        torch.nn.init.zeros_(each.weight_ih_l0)
        assert not torch.equal(each(x)[0], layer(x)[0])


@every_mode
def test_it_moves(mode):
    """test_to, test_multiple_device_transfer: dtypes, and weights that come to lie elsewhere."""
    layer = getattr(nn, mode)(3, 4)
    x = torch.randn(5, 2, 3)
    before, _ = layer(x)
    assert layer.double()(x.double())[0].dtype == torch.float64
    torch.testing.assert_close(layer.float()(x)[0], before)
    assert layer.to(torch.bfloat16)(x.bfloat16())[0].dtype == torch.bfloat16


@every_mode
def test_training_differs_by_dropout_alone(mode):
    """test_if_train_and_eval_modes_differ."""
    x = torch.randn(5, 2, 3)
    for p in (0.0, 0.5):
        layer = getattr(nn, mode)(3, 40, 2, dropout=p)
        assert torch.equal(layer.eval()(x)[0], layer.train()(x)[0]) == (p == 0)


@every_mode
def test_its_words(mode):
    """test_repr, and RNNBase.extra_repr."""
    assert str(getattr(nn, mode)(10, 20)) == f"{mode}(10, 20)"
    options = {"num_layers": 2, "batch_first": True, "dropout": 0.5, "bidirectional": True}
    assert str(getattr(nn, mode)(10, 20, bias=False, **options)) == (
        f"{mode}(10, 20, num_layers=2, bias=False, batch_first=True, dropout=0.5, bidirectional=True)"
    )


@every_mode
def test_what_goes_in_is_not_changed(mode):
    """test_check_inplace's other half: input and state are as they were."""
    layer = getattr(nn, mode)(3, 4)
    x, hx = torch.randn(5, 2, 3), states(mode, 1, 2, 4)
    kept = [each.clone() for each in (x, *flat(hx))]
    layer(x, hx)
    assert all(map(torch.equal, kept, (x, *flat(hx))))


@every_mode
def test_flatten_parameters_is_there(mode):
    """test_cudnn_weight_format and others call it."""
    assert getattr(nn, mode)(2, 3).flatten_parameters() is None


@every_mode
def test_functional_calls(mode):
    """test_functional_call of test_stateless, on a recurrent layer: other weights for one call."""
    layer, other = getattr(nn, mode)(3, 4), getattr(nn, mode)(3, 4)
    x = torch.randn(5, 2, 3)
    before, _ = layer(x)
    called, _ = torch.func.functional_call(layer, dict(other.named_parameters()), (x,))
    assert torch.equal(called, other(x)[0])
    assert torch.equal(layer(x)[0], before)


@every_mode
def test_hooks_and_freezing(mode):
    layer = getattr(nn, mode)(3, 4)
    layer.weight_hh_l0.requires_grad_(False)
    seen = []
    layer.register_forward_hook(lambda module, given, result: seen.append(result[0].shape))
    layer(torch.randn(5, 2, 3))[0].sum().backward()
    assert seen == [(5, 2, 4)]
    assert layer.weight_hh_l0.grad is None
    assert layer.weight_ih_l0.grad.any()


@every_mode
def test_no_warnings(mode):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(nn, mode)(3, 4, 2, dropout=0.5)(torch.randn(5, 2, 3))[0].sum().backward()
