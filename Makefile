# One verb a chore. All of them install what they need into .venv first.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt

.PHONY: help install demo check test sanitize bench accuracy aarch64 clean

help:     ## say what there is
	@grep -E '^[a-z0-9]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

install: $(VENV)/.ready  ## the library and its command line

demo: install  ## train SRU on MNIST, save it, load it, test it
	$(BIN)/ostinato train sru

check: $(VENV)/.ready-dev  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: $(VENV)/.ready-dev  ## the whole test suite; brings a browser where there is none
	$(BIN)/python -m tests.lab.browser
	$(BIN)/python -m pytest -n auto

sanitize: $(VENV)/.ready-dev  ## the native core with address and undefined-behaviour sanitizers: three minutes
	.ci/sanitize $(BIN)/python

bench: $(VENV)/.ready-bench  ## the figures of README and docs again: most of an hour (a look: ostinato bench)
	$(BIN)/python benchmarks/speed.py

accuracy: $(VENV)/.ready-dev  ## train every recipe at full length from three seeds: hours
	$(BIN)/python benchmarks/accuracy.py

aarch64:  ## the native row on an emulated ARM processor: on Debian, as root, a quarter of an hour
	tests/aarch64.sh

clean:    ## remove .venv and what was built; runs stay
	rm -rf $(VENV) build src/ostinato/_core.*

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

BUILT_OF := pyproject.toml constraints.txt CMakeLists.txt $(wildcard csrc/*)
SAY_CORE := $(BIN)/python -c "from ostinato.kernels import core; print(core.described())"

$(VENV)/.ready: $(BUILT_OF) | $(VENV)/bin/python
	$(PIP) -e .
	@$(SAY_CORE)
	touch $@

$(VENV)/.ready-dev: $(BUILT_OF) | $(VENV)/bin/python
	$(PIP) -e ".[dev]"
	@$(SAY_CORE)
	touch $(VENV)/.ready $@

$(VENV)/.ready-bench: $(BUILT_OF) | $(VENV)/bin/python
	$(PIP) -e ".[dev,bench]"
	@$(SAY_CORE)
	touch $(VENV)/.ready $(VENV)/.ready-dev $@
