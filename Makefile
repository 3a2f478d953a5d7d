# shangxin: `make demo` shows it working, `make test` proves it. `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
DEPENDENCIES := pyproject.toml constraints.txt

# make demo: SUMMARY=file.json writes the summary there, KEEP=1 leaves it running, ARGS="..." goes to `shangxin demo`.
DEMO_ARGS := $(if $(SUMMARY),--summary $(SUMMARY)) $(if $(KEEP),--keep) $(ARGS)

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(BIN)/.runtime ## real events through a real broker and a real Triton [SUMMARY=file.json KEEP=1 ARGS=...]
	@$(BIN)/shangxin demo $(DEMO_ARGS)

.PHONY: test
test: $(BIN)/.dev ## lint, types, and every test, on a real broker and a real Triton [PYTEST_ARGS=...]
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shangxin stack prepare
	$(BIN)/shangxin models build
	$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: chaos
chaos: $(BIN)/.dev ## rounds of kills, faults and sleeping workers in the whole system, a minute each [ROUNDS=6 SEED=1]
	$(BIN)/shangxin stack prepare
	$(BIN)/shangxin models build
	$(BIN)/python -m pytest tests/chaos/test_whole_system.py --chaos-rounds $(or $(ROUNDS),6) --chaos-seed $(or $(SEED),1) $(PYTEST_ARGS)

.PHONY: test-fast
test-fast: $(BIN)/.dev ## the tests that need neither broker nor Triton
	$(BIN)/python -m pytest -m "not broker and not triton and not chaos" $(PYTEST_ARGS)

.PHONY: install
install: $(BIN)/.runtime ## the environment of the workers and the command line, without torch

.PHONY: dev
dev: $(BIN)/.dev ## the environment of tests and training

.PHONY: models
models: $(BIN)/.runtime ## assemble the servable model repository
	$(BIN)/shangxin models build

.PHONY: generate
generate: $(BIN)/.dev ## write the generated files again: JSON Schemas, AsyncAPI, tables of the documents
	$(BIN)/shangxin schemas generate
	$(BIN)/python -m stream.docs_tables --write

.PHONY: clean
clean: ## remove environments, caches, run directories and built models
	rm -rf $(VENV) .venv-triton build run bench-out .pytest_cache .mypy_cache .ruff_cache *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else f"Python 3.11 is needed, {sys.executable} is {v[0]}.{v[1]}; say make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

$(BIN)/.runtime: $(BIN)/python $(DEPENDENCIES)
	$(PIP) -e .
	@touch $@

$(BIN)/.dev: $(BIN)/python $(DEPENDENCIES)
	$(PIP) -e '.[train,dev]'
	@touch $@ $(BIN)/.runtime

.PHONY: bench-encoder
bench-encoder: $(BIN)/.dev ## texts a second of the int8 encoder, of the same in fp32, and of plain torch [ARGS=...]
	$(BIN)/python -m tests.bench.encoder $(ARGS)

.PHONY: bench
bench: $(BIN)/.dev ## each worker's rate as a ratio to a raw pass-through, interleaved; JSON in bench-out/ [ARGS=...]
	$(BIN)/shangxin stack prepare
	$(BIN)/shangxin models build
	$(BIN)/python -m tests.bench.run $(ARGS)
