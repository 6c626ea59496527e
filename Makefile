# `make run`: from nothing to a live endpoint. `make test`: every test. The README says the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv)
APT := chromium dataset-fashion-mnist
TIDEGATE := $(BIN)/tidegate
export TF_CPP_MIN_LOG_LEVEL := 2
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true
# Were it set, Python would compile tens of thousands of lines anew at every start: twice the time of a submit.
export PYTHONDONTWRITEBYTECODE :=

# Installs a locked requirements file, with uv where it is there. Hashes are checked either way.
ifdef UV
install = $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r $(1)
install_self = $(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
make_venv = $(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
else
install = $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
install_self = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
make_venv = $(PYTHON) -m venv $(VENV)
endif

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

.PHONY: help setup run test test-slow lint bench bench-serving cluster-up cluster-down test-cluster lock clean

help:
	@echo "make run        set up, submit the digits experiment, print the endpoint and a curl"
	@echo "make test       set up and run all tests (make test-slow: those that take minutes)"
	@echo "make bench      ratios against baselines run in the same call"
	@echo "make bench-serving   the endpoint beside other servers, with wrk"
	@echo "make setup      only set up: leaves $(TIDEGATE)"
	@echo "make cluster-up, test-cluster, cluster-down   a real Kubernetes here, for work on Tidegate itself"
	@echo "make lint       ruff, mypy, import-linter"
	@echo "make lock       pin all dependencies anew, with hashes"

setup: $(VENV)/.run

$(VENV)/.run: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
	  || { echo "Python 3.11 or 3.12 is needed, found: $$($(PYTHON) --version); name one with make PYTHON=..."; exit 1; }
	@echo "setting up $(VENV), once" >&2
	@$(make_venv) || { echo "no virtual environment could be made; on Debian: apt-get install python3-venv"; exit 1; }
	@$(call install,requirements.txt)
	@$(install_self)
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@$(call install,requirements-dev.txt)
	@touch $@

# Debian packages for the browser tests and the full Fashion-MNIST; without root, what is missing is named.
$(VENV)/.apt: | $(VENV)/.run
	@missing=$$(for p in $(APT); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  else echo "tests need Debian's $$missing: sudo apt-get install $$missing" >&2; exit 1; fi; \
	fi
	@touch $@

run: setup
	@$(TIDEGATE) submit digits

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > .import-lint.log 2>&1 || { cat .import-lint.log; exit 1; }
	@rm -f .import-lint.log

test: $(VENV)/.dev $(VENV)/.apt lint
	@$(BIN)/python -m pytest -m "not slow and not cluster" -n 2 --dist loadfile

test-slow: $(VENV)/.dev $(VENV)/.apt
	@$(BIN)/python -m pytest -m slow

bench: $(VENV)/.dev
	@$(BIN)/python -m tests.bench

# Needs wrk (Debian: apt-get install wrk); takes half an hour. MODELS, SECONDS and more: make bench-serving ARGS="--help"
bench-serving: $(VENV)/.dev
	@$(BIN)/python -m tests.bench.serving $(ARGS)

# A real Kubernetes on this machine, for people who work on Tidegate; needs root and, once, Go and 20 minutes.
cluster-up: $(VENV)/.dev
	@$(BIN)/python -m infra.testbed up

cluster-down: $(VENV)/.dev
	@$(BIN)/python -m infra.testbed down

test-cluster: $(VENV)/.dev
	@$(BIN)/python -m pytest -m cluster tests/cluster

# One resolution for both files: what runs is tested with the very versions that users get.
lock:
	@$(LOCK) --extra serve --extra train --extra dev pyproject.toml -o requirements-dev.txt
	@$(LOCK) --extra serve --extra train -c requirements-dev.txt pyproject.toml -o requirements.txt

clean:
	@[ ! -x $(TIDEGATE) ] || $(TIDEGATE) down
	@rm -rf $(VENV) .tidegate
