"""Every peer that is installed comes to the same numbers as ours, at small sizes."""

import sys
from dataclasses import replace

import pytest

from ostinato.lab.bench import PEERS, choose
from ostinato.lab.bench.cases import everyone, widths
from ostinato.lab.bench.harness import Disagreement, NotThere
from ostinato.lab.bench.peers import compiled, keras_layers
from tests.lab.test_bench_harness import off

NEW = [*everyone.CASES, *widths.CASES[::6]]


@pytest.mark.parametrize("peer", sorted({*PEERS} - {"torch.compile", "ostinato", "torchrecurrent"}))
def test_a_peer_agrees(peer):
    cases = [case.among([peer]).tiny() for case in NEW if peer in case.peers]
    cases += (
        [each.tiny() for each in choose(["infer/*", "stream/*"], peers=[peer])]
        if peer == "onnx"
        else []
    )
    absent = {}
    for case in cases:
        found = case.check()
        assert not found.crashed
        absent |= found.missing
    if absent:
        pytest.skip("; ".join({*absent.values()}))


@pytest.mark.parametrize("name", ["everyone/train-lstm", "everyone/infer-gru"])
def test_a_compiled_loop_agrees(name):
    (case,) = choose([name], peers=["torch.compile"])
    case = replace(case, sizes=replace(case.sizes.tiny(), time=2))
    found = case.check()
    assert not found.crashed
    if found.missing:
        pytest.skip(found.missing["torch.compile"])


@pytest.mark.parametrize(
    ("case", "key"),
    [(case, "outputs") for case in everyone.CASES]
    + [(case, "cell") for case in everyone.CASES if case.training],
    ids=lambda each: getattr(each, "name", each),
)
def test_every_kind_of_case_notices_when_ours_is_wrong(case, key):
    case = case.among(["torch.nn", "loop"]).tiny()
    broken = replace(
        case.sides["ours"], make=lambda work: off(1.01, key, work, case.sides["ours"].make)
    )
    with pytest.raises(Disagreement):
        replace(case, sides={**case.sides, "ours": broken}).check()


def test_a_package_that_cannot_be_imported_for_want_of_a_compiler_is_named(tmp_path, monkeypatch):
    (tmp_path / "sru").mkdir()
    (tmp_path / "sru/__init__.py").write_text("raise RuntimeError('Ninja is required')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sru", raising=False)
    (case,) = choose(["everyone/infer-sru2"], peers=["sru"])
    said = case.tiny().check().missing["sru"]
    assert said.startswith("sru is installed and cannot be imported (RuntimeError): it compiles C++")


def test_without_a_compiler_there_is_no_compiled_loop(monkeypatch):
    from torch._inductor import cpp_builder

    def none():
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    (case,) = choose(["everyone/train-gru"], peers=["torch.compile"])
    with pytest.raises(NotThere, match="needs a C\\+\\+ compiler, and finds none: install g\\+\\+"):
        compiled.training(case.tiny().work())


class OnTorch:
    """Keras as somebody else has imported it already."""

    class config:
        @staticmethod
        def backend():
            return "torch"


def test_keras_in_use_on_another_backend_is_not_measured(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", OnTorch)
    monkeypatch.setitem(sys.modules, "jax", OnTorch)
    with pytest.raises(NotThere, match="keras is in use here on torch, and is measured on JAX"):
        keras_layers.training(everyone.CASES[0].tiny().work())
