#!/usr/bin/env bash
# The core compiled for ARM's aarch64, and the contract of every cell run on it by an emulator: torch, Python and all.
# On Debian for x86-64, as root; everything comes from package registries and stays in build/aarch64.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD/build/aarch64
mkdir -p "$root"/apt/{lists,cache/archives}/partial "$root"/{debian,site}

apt-get update -qq
apt-get install -y -qq qemu-user g++-aarch64-linux-gnu cmake ninja-build

# Debian's Python for aarch64, in a folder of its own.
arm=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::status=/dev/null
  -o Dir::State::Lists="$root/apt/lists" -o Dir::Cache="$root/apt/cache")
"${arm[@]}" update
"${arm[@]}" install -y --no-install-recommends --download-only python3 libpython3-dev libstdc++6 libgomp1
for package in "$root"/apt/cache/archives/*.deb; do dpkg -x "$package" "$root/debian"; done
python() {
  qemu-aarch64 -L "$root/debian" -E PYTHONPATH="$PWD/src:$root/site:$PWD" -E OMP_NUM_THREADS=1 \
    "$root/debian/usr/bin/python3" "$@"
}
version=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# The newest torch whose wheel for aarch64 runs without CUDA's libraries, which it would bring along.
pip() {
  python3 -m pip install -q --upgrade --target "$root/site" --platform manylinux_2_28_aarch64 \
    --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 --only-binary=:all: \
    --python-version "$version" "$@"
}
pip --no-deps torch==2.9.1
pip numpy filelock typing-extensions sympy networkx jinja2 fsspec safetensors pydantic tomli-w pytest hypothesis
python3 -m pip install -q --upgrade --target "$root/nanobind" nanobind

cmake -G Ninja -S . -B "$root/core" -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux \
  -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
  -DCMAKE_CXX_FLAGS="-isystem $root/debian/usr/include" -Dnanobind_ROOT="$root/nanobind" \
  -DPython_EXECUTABLE="$(command -v python3)" -DSKBUILD_SOABI="cpython-${version/./}-aarch64-linux-gnu" \
  -DPython_INCLUDE_DIR="$root/debian/usr/include/python$version" -DSKBUILD_STATE=editable \
  -DSKBUILD_PROJECT_VERSION_FULL="$(sed -n 's/^__version__ = "\(.*\)"/\1/p' src/ostinato/__init__.py)"
cmake --build "$root/core"
cmake --install "$root/core"

python -c "from ostinato.kernels import core; print(core.described()); assert core.core()"
python -m pytest -q -p no:cacheprovider -o filterwarnings=default tests/contract/test_contract.py -k native
