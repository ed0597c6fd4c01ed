"""The compiled core: found, refused or missing, and the library goes on in each case."""

import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

import ostinato
from ostinato.errors import RowError
from ostinato.kernels import core

PACKAGE = Path(ostinato.__file__).parent
COMPILERS = ("c++", "g++", "clang++")

START = """
import ostinato
import torch
from ostinato.cells import LSTM
from ostinato.drivers import Recurrent
from ostinato.errors import RowError
from ostinato.kernels import core
"""

CALLS = """
layer, x = LSTM(3, 4), torch.randn(2, 5, 3)
expected = Recurrent(layer, row="reference")(x)[0]
for row in ("auto", "program"):
    torch.testing.assert_close(Recurrent(layer, row=row)(x)[0], expected)
assert core.core() is None
print(core.described())
ostinato.explain(Recurrent(layer), x)
try:
    Recurrent(layer, row="native")(x)
except RowError as error:
    print(error)
"""

TRAINED = """
from ostinato.cells import GRU, LSTM, SRU

core.core().choose(ISA)
for make in (GRU, LSTM, SRU):
    cell, x = make(5, 37), torch.randn(7, 11, 5)
    expected, got = [], []
    for row, result in (("reference", expected), ("native", got)):
        cell.zero_grad()
        outputs, state = Recurrent(cell, row=row)(x)
        (outputs.sin().sum() + sum(each.cos().sum() for each in state)).backward()
        result += [outputs, *state, *(weight.grad.clone() for weight in cell.parameters())]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
assert core.core().isa() == ISA
"""

needs_core = pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="there is no compiler")


@pytest.fixture(autouse=True)
def found_anew():
    core._found.cache_clear()
    yield
    core._found.cache_clear()


def said(program, path):
    """What a new process prints that finds its packages in `path` first."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(path)!r})\n{START}{program}"]
    done = subprocess.run(command, cwd="/", text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def coreless(tmp_path):
    """The package without its core."""
    package = tmp_path / "ostinato"
    package.mkdir()
    for each in PACKAGE.iterdir():
        if not each.name.startswith(("_core.", "__pycache__")):
            (package / each.name).symlink_to(each)
    return package


@needs_core
def test_who_has_a_compiler_has_the_core():
    module = core.core()
    assert module is not None, core.why_missing()
    assert core.why_missing() is None
    assert module.isas()[-1] == "baseline"
    assert core.described().startswith(f"native core: {module.isas()[0]}")


def test_it_is_looked_for_once(monkeypatch):
    asked = []
    monkeypatch.setattr(core, "find_spec", lambda name: asked.append(name))
    assert (core.core(), core.core(), asked) == (None, None, ["ostinato._core"])
    with pytest.raises(RowError, match="no native core to choose avx2 of: the core was not built"):
        core._chosen("avx2").__enter__()


def test_without_it_the_library_says_so_and_runs(coreless):
    output = said(CALLS, coreless.parent)
    reason = "the core was not built when Ostinato was installed"
    assert output.startswith(f"no native core: {reason}")
    assert "install it again with `pip install -v`" in output
    assert f"not native: {reason}" in output
    assert f'the row "native" cannot run this call: {reason}' in output


def test_what_is_no_library(coreless):
    broken = coreless / f"_core{EXTENSION_SUFFIXES[0]}"
    broken.write_bytes(b"\x7fELF\x02, and then nothing")
    output = said(CALLS, coreless.parent)
    assert output.startswith(f"no native core: the core cannot be loaded: {broken}: ")


@needs_core
@pytest.mark.skipif(sys.platform != "linux", reason="cuts an ELF file")
@pytest.mark.parametrize("part", [0.02, 0.5, 0.999])
def test_one_that_is_cut_short(coreless, part):
    """Loading it would end the process with a bus error."""
    (whole,) = PACKAGE.glob("_core.*")
    content = whole.read_bytes()
    cut = coreless / whole.name
    cut.write_bytes(content[: int(part * len(content))])
    expected = f"no native core: the core cannot be loaded: {cut} is cut short; install it again"
    assert said(CALLS, coreless.parent).splitlines()[0] == expected


@needs_core
@pytest.mark.parametrize(
    "error", [ImportError("undefined symbol: GOMP_parallel"), SystemError("it failed")]
)
def test_the_loaders_own_words(monkeypatch, error):
    def broken(name):
        raise error

    monkeypatch.setattr(core, "import_module", broken)
    assert core.core() is None
    assert core.why_missing() == f"the core cannot be loaded: {error}"


def built_as(monkeypatch, version):
    module = ModuleType("ostinato._core")
    if version is not None:
        module.version = version
    monkeypatch.setattr(core, "find_spec", lambda name: ModuleSpec(name, None, origin=__file__))
    monkeypatch.setattr(core, "import_module", lambda name: module)


@pytest.mark.parametrize(("version", "named"), [("0.0.1+1f", "0.0.1"), (None, "none")])
def test_one_of_another_version_is_not_used(monkeypatch, version, named):
    built_as(monkeypatch, version)
    assert core.core() is None
    assert core.why_missing() == (
        f"the core was built for Ostinato {named}, and this is {ostinato.__version__}; install it again"
    )


def test_one_of_other_sources_is_not_used(monkeypatch, tmp_path):
    """In a checkout, where a changed source keeps the version."""
    (tmp_path / "core.cpp").write_text("int a;")
    (tmp_path / "core.h").write_text("")
    monkeypatch.setattr(core, "CSRC", tmp_path)
    built_as(monkeypatch, f"{ostinato.__version__}+{core._digest(tmp_path)}")
    assert core.why_missing() is None
    (tmp_path / "build_backend.py").write_text("no part of it")
    core._found.cache_clear()
    assert core.why_missing() is None
    (tmp_path / "core.h").write_text("struct A;")
    core._found.cache_clear()
    assert core.core() is None
    assert core.why_missing() == (
        f"the core was built from other sources than those in {tmp_path}; install it again"
    )


def test_a_wheel_has_no_sources_beside_it(monkeypatch, tmp_path):
    monkeypatch.setattr(core, "CSRC", tmp_path / "none")
    built_as(monkeypatch, f"{ostinato.__version__}+1f")
    assert core.why_missing() is None


def test_one_that_was_compiled_by_hand_names_no_sources(monkeypatch, tmp_path):
    monkeypatch.setattr(core, "CSRC", tmp_path)
    built_as(monkeypatch, ostinato.__version__)
    assert core.why_missing() is None


@needs_core
def test_each_instruction_set_can_be_chosen():
    module = core.core()
    best = module.isa()
    for isa in module.isas():
        with core._chosen(isa):
            assert module.isa() == isa
        assert module.isa() == best
    with pytest.raises(ValueError, match='"sse9"'), core._chosen("sse9"):
        pass
    with pytest.raises(KeyError), core._chosen("baseline"):
        raise KeyError
    assert module.isa() == best


@needs_core
@pytest.mark.parametrize("isa", ["avx512", "avx2", "baseline"])
def test_each_instruction_set_agrees_with_the_reference(isa):
    if isa not in core.core().isas():
        pytest.skip(f"this processor has no {isa}")
    said(f"ISA = {isa!r}\n{TRAINED}", PACKAGE.parent)


@needs_core
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which files are mapped")
def test_its_threads_are_torchs():
    """A second library of threads would fight torch's; and no number becomes another by loading it."""
    program = """
assert core.core(), core.why_missing()
print(*{line.split()[-1] for line in open("/proc/self/maps") if "omp" in line})
assert 2.0**-1074 * 1.5 > 0  # denormals are not flushed
"""
    (library,) = said(program, PACKAGE.parent).splitlines()
    assert "/torch/lib/libgomp" in library
