# Everything here works on a clean clone with Python 3.11 or newer, make and a package index.
# `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Containers often forbid byte code: then each of the hundreds of processes that the tests start would
# compile everything anew.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
INSTALLED := .venv/.installed
# One version of uv, the locked one, both for installing and for locking.
UV_PINNED := $(shell sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements.lock)
# uv would fetch an interpreter of its own if it disliked ours, and trust certificates of its own where
# the machine's say whom its network trusts.
UV := UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=true $(BIN)/uv --quiet
# Processes that pytest uses; each has a PostgreSQL and a Valkey of its own.
PYTEST_WORKERS ?= auto

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: install
install: $(INSTALLED) ## make .venv and install the locked packages into it

# A name on the PATH is not proof of an interpreter (version managers leave shims): run it.
$(BIN)/python:
	@for candidate in python3.11 python3 python; do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        exec "$$candidate" -m venv .venv; \
	    fi; \
	done; \
	echo 'shopkeeper needs Python 3.11 or newer as python3.11, python3 or python' >&2; exit 1

$(INSTALLED): requirements.lock pyproject.toml | $(BIN)/python
	@echo 'installing the locked packages into .venv'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(UV_PINNED)'
	@$(UV) pip sync --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: test
test: lint imports ## everything that must be green before a commit
	@$(MAKE) --jobs=2 types pytest

.PHONY: lint
lint: $(INSTALLED) ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: types
types: $(INSTALLED) ## mypy --strict
	@$(BIN)/mypy

.PHONY: imports
imports: $(INSTALLED) ## the arrows between the packages
	@$(BIN)/lint-imports --no-logo

.PHONY: protos
protos: $(INSTALLED) ## the contract, which `pytest` tests as well: lint, format, compatibility, generated code is current
	@$(BIN)/pytest -q tests/test_contract.py

.PHONY: pytest
pytest: $(INSTALLED) ## the tests
	@$(BIN)/pytest -n $(PYTEST_WORKERS) --maxschedchunk 2

.PHONY: generate
generate: $(INSTALLED) ## Python code from protos/ into generated/
	@$(BIN)/python -m ops.generate_protos

.PHONY: contract
contract: $(INSTALLED) ## the protos as they are become what may not be broken: with each release
	@$(BIN)/buf build --exclude-source-info --output protos/contract.binpb

.PHONY: storm
storm: $(INSTALLED) ## 2,000 orders paid while calls fail and processes are killed: five minutes or more
	@$(BIN)/python -m tests.system.storm --orders $(or $(ORDERS),2000)

.PHONY: torture
torture: $(INSTALLED) ## everything fails while customers come and go, nothing may be lost: MINUTES (60), SEED (0); JUDGE=folder
	@$(BIN)/python -m tests.torture $(if $(JUDGE),--judge $(JUDGE),--minutes $(or $(MINUTES),60) --seed $(or $(SEED),0))

.PHONY: simulate
simulate: $(INSTALLED) ## SEEDS=n histories of races and faults on a clock of their own, ONLY=kind; SEED=n shows one again
	@$(BIN)/python -m tests.simulation $(if $(ONLY),--only $(ONLY)) \
	    $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),5000) --first $(or $(FIRST),0))

.PHONY: fuzz
fuzz: $(INSTALLED) ## any bytes and any values at every RPC: EXAMPLES (1000) calls of each
	@FUZZ_EXAMPLES=$(or $(EXAMPLES),1000) $(BIN)/pytest -q -s tests/fuzzing

.PHONY: soak
soak: $(INSTALLED) ## a shop at steady load, nothing may grow that need not: MINUTES (20), RATE (8) visitors a second
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),20) --rate $(or $(RATE),8)

.PHONY: demo
demo: $(INSTALLED) ## see it work
	@$(BIN)/shopkeeper demo

.PHONY: bench
bench: $(INSTALLED) ## measure it beside its limits: ONLY=name[,name] ROUNDS=3 SECONDS=2 WORKERS=1 PROFILE=1
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	    $(if $(SECONDS),--seconds $(SECONDS)) $(if $(WORKERS),--workers $(WORKERS)) $(if $(PROFILE),--profile)

.PHONY: lock
lock: $(BIN)/python ## choose package versions anew: all platforms, with hashes
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(or $(UV_PINNED),uv)
	@$(UV) pip compile pyproject.toml --group dev --universal --python-version 3.11 --upgrade \
	    --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	    --output-file requirements.lock

.PHONY: clean
clean: ## remove everything that can be made again
	rm -rf .venv build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
