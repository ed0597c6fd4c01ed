"""The unrolled, compiled loop gives what the plain layer gives, and never pretends."""

import copy
import logging
import os
import pickle
import subprocess
import sys

import pytest
import torch
from tests.contract.agree import floating, some_state
from tests.contract.cells import every_cell

from ostinato.cells import GRU, LSTM, SRU, Adapted, Elman, LayerNormLSTM
from ostinato.drivers import Recurrent, Static, static
from ostinato.errors import DtypeError, LengthsError, OptionError, ShapeError, StateError
from ostinato.wrappers import Bidirectional, Stack

B, T, I, H = 3, 3, 2, 4  # noqa: E741


def stack():
    pair = Bidirectional(Recurrent(GRU(I, 3)), Recurrent(GRU(I, 3), reverse=True))
    return Stack([pair, Stack([Recurrent(Elman(6, H))])])


LAYERS = {
    "lstm": lambda: Recurrent(LSTM(I, H)),
    "sru": lambda: Recurrent(SRU(I, H)),
    "layer norm": lambda: Recurrent(LayerNormLSTM(I, H, epsilon=1e-5)),
    "reverse": lambda: Recurrent(GRU(I, H), reverse=True),
    "adapted": lambda: Recurrent(Adapted(torch.nn.LSTMCell(I, H))),
    "stack": stack,
}


def marks():
    resets = torch.zeros(B, T, dtype=torch.bool)
    resets[0, 1] = True
    return {"lengths": torch.tensor([3, 2, 0], dtype=torch.int32), "resets": resets}


@pytest.fixture
def x():
    torch.manual_seed(6)
    return torch.randn(B, T, I, dtype=torch.float64)


def leaves(state):
    return (
        [state]
        if isinstance(state, torch.Tensor)
        else [leaf for part in state for leaf in leaves(part)]
    )


def compare(static, x, state=None, **given):
    """Outputs, state, and gradients of both with respect to everything."""
    x = x.detach().requires_grad_()
    found = []
    for run in (static, static.layer):
        outputs, after = run(x, state, **given)
        ends = leaves(after)
        total = outputs.square().sum() + sum(n * end.sum() for n, end in enumerate(ends, 2))
        begin = [] if state is None else leaves(state)
        gradients = torch.autograd.grad(total, [x, *begin, *static.parameters()], allow_unused=True)
        found.append([outputs, *ends, *(torch.zeros(()) if g is None else g for g in gradients)])
    torch.testing.assert_close(*found)
    return after


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())
def test_equals_the_layer(make, x):
    static = Static(make().double(), T, backend="aot_eager")
    after = compare(static, x)
    compare(static, x, _rebuilt(after), **marks())
    assert static.compiled
    assert static.reason is None
    assert static.compile_seconds > 0


def _rebuilt(state):
    if isinstance(state, torch.Tensor):
        return state.detach().requires_grad_()
    parts = [_rebuilt(part) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def test_inductor(x, caplog):
    """The real compiler, once, on three steps; its time is told."""
    static = Static(Recurrent(LSTM(I, H)).double(), T)
    with caplog.at_level(logging.INFO, "ostinato"):
        compare(static, x, **marks())
    assert static.compiled
    [line] = [record.getMessage() for record in caplog.records if record.name.startswith("ostinato")]
    assert line == f"3 steps compiled for 3 rows in {static.compile_seconds:.1f} s"
    seconds = static.compile_seconds
    compare(static, 2 * x, **marks() | {"lengths": torch.tensor([1, 3, 2], dtype=torch.int32)})
    assert static.compile_seconds == seconds


def counting():
    """A backend that counts what it is asked to compile."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    return graphs, backend


def test_compiles_once_a_batch_size_and_without_limit(x):
    graphs, backend = counting()
    statics = [Static(Recurrent(GRU(I, H)).double(), T, backend=backend) for _ in range(3)]
    for _ in range(2):
        for each in statics:
            for batch in range(5):
                each(x.repeat(2, 1, 1)[:batch])
    assert len(graphs) == 15
    plain, _ = statics[0].layer(x)
    torch.testing.assert_close(statics[0](x)[0], plain)
    assert len(graphs) == 15


def test_evaluation_runs_the_layer_itself(x):
    graphs, backend = counting()
    static = Static(Recurrent(LSTM(I, H)).double(), T, backend=backend).eval()
    torch.testing.assert_close(static(x), static.layer(x))
    assert not graphs
    also = Static(static.layer, T, backend=backend, compile_evaluation=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(also(x), static.layer(x))
    assert len(graphs) == 1
    with pytest.raises(ShapeError, match="expected T = 3"):
        static(x[:, :2])


def test_compiling_draws_nothing(x):
    """The first call, which compiles, drops what the second one drops, and draws as often."""
    layer = Stack([Recurrent(GRU(I, 8)), Recurrent(GRU(8, H))], dropout=0.5).double()
    static, found = Static(layer, T, backend="eager"), []
    for _ in range(2):
        torch.manual_seed(1)
        found.append((static(x)[0], torch.rand(2)))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    torch.manual_seed(2)
    assert not torch.equal(static(x)[0], found[0][0])


def test_the_weights_are_the_layers_and_gradients_are_not_doubled(x):
    layer = Recurrent(LSTM(I, H)).double()
    static = Static(layer, T, backend="aot_eager")
    assert [id(w) for w in static.parameters()] == [id(w) for w in layer.parameters()]
    assert all(w.grad is None for w in layer.parameters())
    static(x)[0].sum().backward()
    found = [w.grad.clone() for w in layer.parameters()]
    layer.zero_grad()
    layer(x)[0].sum().backward()
    torch.testing.assert_close(found, [w.grad for w in layer.parameters()])


def broken(graph, inputs):
    raise RuntimeError("no compiler here\nand much more")


def test_without_a_compiler_it_says_so_once(x):
    static = Static(stack().double(), T, backend=broken)
    with pytest.warns(UserWarning, match=r"unrolled but uncompiled.*no compiler here\).*C\+\+") as said:
        compare(static, x, **marks())
    assert len(said) == 1
    assert not static.compiled
    assert static.reason.endswith("RuntimeError: no compiler here")
    assert static.compile_seconds == 0
    compare(static, x[:2])  # warnings are errors here


def test_on_a_machine_without_a_compiler(tmp_path):
    """The real backend, in a process whose compiler does not exist."""
    code = (
        "import torch, warnings; from ostinato.cells import GRU;"
        "from ostinato.drivers import Recurrent, Static;"
        "static, x = Static(Recurrent(GRU(2, 4)), 2), torch.randn(3, 2, 2);"
        "torch.testing.assert_close(static(x), static.layer(x));"
        "print(static.compiled, static.reason)"
    )
    missing = {"CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | missing,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("False")
    assert "compiler" in done.stdout
    assert done.stderr.count("unrolled but uncompiled") == 1


def test_copies_and_pickles(x):
    static = Static(Recurrent(LSTM(I, H)).double(), T, backend="eager")
    expected = static(x)
    for other in (copy.deepcopy(static), pickle.loads(pickle.dumps(static))):
        assert not other.compiled
        torch.testing.assert_close(other(x), expected)
        assert other.compiled


def test_a_mistake_in_a_step_is_no_missing_compiler(x):
    class Wrong(GRU):
        def step(self, x, state):
            return super().step(x @ x, state)

    with pytest.warns(match="uncompiled"), pytest.raises(RuntimeError, match="mat1 and mat2"):
        Static(Recurrent(Wrong(I, H)).double(), T, backend="eager")(x)


def test_what_cannot_be_unrolled(x):
    layer = Recurrent(LSTM(I, H)).double()
    static = Static(layer, T, backend="eager")
    for other in (x[:, :2], torch.cat([x, x], 1), x[:, :0]):
        with pytest.raises(ShapeError, match=rf"expected T = 3, .* got {other.shape[1]}\. .*\.layer"):
            static(other)
    with pytest.raises(ShapeError, match=r"x of shape \[B, T, I=2\]"):
        static(x[..., :1])
    with pytest.raises(DtypeError):
        static(x.float())
    with pytest.raises(LengthsError, match="between 0 and T=3"):
        static(x, lengths=torch.tensor([1, 2, 4]))
    with pytest.raises(StateError):
        static(x, torch.zeros(B, H))
    with pytest.raises(StateError, match=r"one state a layer \(2\), got 1"):
        Static(stack().double(), T, backend="eager")(x, (None,))
    with pytest.raises(OptionError, match=r"got LSTM\. A cell becomes a layer by Recurrent"):
        Static(LSTM(I, H), T)
    with pytest.raises(OptionError, match="got Linear"):
        Static(Stack([layer, torch.nn.Linear(2, 2)]), T)
    for steps in (0, -1, 2.0, True):
        with pytest.raises(OptionError, match="steps must be a whole number"):
            Static(layer, steps)


@every_cell
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
def test_what_is_unrolled_of_a_program_equals_the_loop(make, reverse):
    torch.manual_seed(0)
    program = Recurrent(make(3, 4), reverse=reverse, row="program").double()
    loop = Recurrent(program.cell, reverse=reverse, row="reference")
    x = torch.randn(4, 5, *program.cell.input_shape, dtype=torch.double, requires_grad=True)
    state = some_state(program.cell, 4, 1)
    for lengths in (None, torch.tensor([5, 0, 2, 4])):
        for resets in (None, torch.rand(4, 5) < 0.4):
            results = []
            for layer in (program, loop):
                prepared = []
                torch.manual_seed(1)
                static._prepare(layer, x, state, resets is not None, prepared)
                outputs, last = static._walk(layer, x, state, lengths, resets, prepared)
                loss = outputs.sin().sum() + sum(each.cos().sum() for each in last)
                inputs = [x, *floating(state), *program.parameters()]
                grads = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
                results.append([outputs, *last, *grads])
            for a, b in zip(*results, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


def test_each_row_is_unrolled_as_wished(x):
    steps = {}
    for row in ("reference", "program"):
        layer = Recurrent(LSTM(3, 4), row=row)
        prepared = []
        static._prepare(layer, x, None, False, prepared)
        ((steps[row], _),) = prepared
    assert steps["reference"] is None
    assert steps["program"] is not None
