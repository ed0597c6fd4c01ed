"""How the package is built: with its core where that can be, and without it elsewhere."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BACKEND = Path(__file__).parents[1] / "csrc" / "build_backend.py"


@pytest.fixture
def scikit(monkeypatch):
    """What stands in for scikit-build-core, and writes down how it is called."""
    calls = []

    def built(kind):
        def build(directory, settings=None):
            calls.append((kind, settings))
            if scikit.fails and "wheel.cmake" not in (settings or {}):
                raise scikit.fails
            return f"{kind}.whl"

        return build

    build = SimpleNamespace(
        build_wheel=built("wheel"),
        build_editable=built("editable"),
        build_sdist=None,
        get_requires_for_build_sdist=None,
        get_requires_for_build_wheel=lambda settings: ["cmake"],
    )
    scikit = SimpleNamespace(build=build, calls=calls, fails=None)
    monkeypatch.setitem(sys.modules, "scikit_build_core", scikit)
    monkeypatch.setitem(sys.modules, "scikit_build_core.build", build)
    return scikit


@pytest.fixture
def backend(scikit, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("build_backend", BACKEND)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "src" / "ostinato").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("CXX", "CIBUILDWHEEL"):
        monkeypatch.delenv(name, raising=False)
    return module


def compiler(name):
    path = Path("bin", name)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path.resolve()


WITHOUT = {"wheel.cmake": "false", "wheel.py-api": "py3"}


def test_no_compiler(backend, scikit, capfd):
    """Nothing is fetched for the core, and nothing tried."""
    assert backend.get_requires_for_build_wheel() == []
    assert backend.get_requires_for_build_editable() == []
    assert backend.build_wheel("here", {"a": "b"}) == "wheel.whl"
    assert scikit.calls == [("wheel", {"a": "b"} | WITHOUT)]
    assert "Without the native core: there is no C++ compiler" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["c++", "g++", "clang++"])
def test_a_compiler(backend, scikit, name):
    compiler(name)
    assert backend.get_requires_for_build_wheel() == ["cmake"]
    assert backend.build_wheel("here") == "wheel.whl"
    assert scikit.calls == [("wheel", None)]


def test_the_compiler_that_is_wished(backend, monkeypatch):
    wished = compiler("my-c++")
    assert backend.get_requires_for_build_wheel() == []
    monkeypatch.setenv("CXX", f"{wished} -pipe")
    assert backend.get_requires_for_build_wheel() == ["cmake"]
    compiler("c++")
    monkeypatch.setenv("CXX", "/none/such")
    assert backend.get_requires_for_build_wheel() == []


@pytest.mark.parametrize("fails", [SystemExit(1), RuntimeError("no CMake")])
def test_a_build_that_fails(backend, scikit, capfd, fails):
    compiler("c++")
    scikit.fails = fails
    assert backend.build_wheel("here") == "wheel.whl"
    assert scikit.calls == [("wheel", None), ("wheel", WITHOUT)]
    out, err = capfd.readouterr()
    assert "Without the native core: it could not be built" in out
    assert type(fails).__name__ in err


def test_a_wheel_for_others_has_its_core(backend, scikit, monkeypatch):
    compiler("c++")
    scikit.fails = SystemExit(1)
    monkeypatch.setenv("CIBUILDWHEEL", "1")
    with pytest.raises(SystemExit):
        backend.build_wheel("here")


def test_for_development(backend, scikit, tmp_path):
    """The checkout on the path, and no core of before where none can be built now."""
    package = tmp_path / "src" / "ostinato"
    (package / "_core.cpython-311-x86_64-linux-gnu.so").write_text("old")
    (package / "__init__.py").write_text("")
    made = compiler("c++")
    assert backend.build_editable("here") == "editable.whl"
    assert len([*package.iterdir()]) == 2
    assert (tmp_path / "build" / "ostinato.pth").read_text() == f"{tmp_path / 'src'}\n"
    made.unlink()
    assert backend.build_editable("here") == "editable.whl"
    assert [path.name for path in package.iterdir()] == ["__init__.py"]
    assert scikit.calls == [("editable", None), ("editable", WITHOUT)]
