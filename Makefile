# Every target sets itself up: it needs python3 (3.11 or newer), make and the package index.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARITY_VENV := .parity-venv
BENCH_VENV := .bench-venv
HASH := $(shell $(PYTHON) -c "import hashlib; print(hashlib.sha256(open('pyproject.toml', 'rb').read()).hexdigest()[:16])")
STAMP := $(VENV)/.ready-$(HASH)
DOCS_STAMP := $(VENV)/.docs-$(HASH)
LINT_STAMP := $(VENV)/.lint-$(HASH)
PARITY_STAMP := $(PARITY_VENV)/.ready
BENCH_STAMP := $(BENCH_VENV)/.ready
TESTS ?= tests
ARGS ?=

.PHONY: help setup demo test parity alignment bench scale noise cosmic-rays integration docs lint format image up down clean

help: ## Show the targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,plots]"
	rm -f $(VENV)/.ready-*
	touch $@

$(LINT_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,plots,lint]"
	rm -f $(VENV)/.lint-*
	touch $@

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,plots,align,docs]"
	rm -f $(VENV)/.docs-*
	touch $@

$(PARITY_STAMP):
	test -x $(PARITY_VENV)/bin/python || $(PYTHON) -m venv $(PARITY_VENV)
	$(PARITY_VENV)/bin/python -m pip install --quiet --disable-pip-version-check "drizzlepac==3.11.0" "spherical_geometry<1.4"
	touch $@

$(BENCH_STAMP):
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check "reproject==0.21.0"
	touch $@

setup: $(STAMP) ## Make the virtual environment.

demo: $(STAMP) ## Simulate four ACS exposures, drizzle them within 2 GiB, compare with the truth.
	$(BIN)/python -m mosaic.cli.demo

test: $(STAMP) ## Run the tests (TESTS=tests/steps ARGS=-x narrow them).
	$(BIN)/python -m pytest $(TESTS) -q -m "not parity" $(ARGS)

parity: $(STAMP) $(PARITY_STAMP) ## Compare with DrizzlePac, installed in an environment of its own.
	$(BIN)/python -m tests.parity --oracle-python $(PARITY_VENV)/bin/python --timing full quick $(ARGS)

alignment: $(STAMP) $(PARITY_STAMP) ## Align simulated exposures beside TweakReg; writes docs/alignment.md.
	$(BIN)/python -m tests.pointing --oracle-python $(PARITY_VENV)/bin/python $(ARGS)

bench: $(STAMP) $(PARITY_STAMP) $(BENCH_STAMP) ## Time mosaic beside other programs, on a quiet machine (ARGS=--quick tries it).
	$(BIN)/python -m tests.bench --oracle-python $(PARITY_VENV)/bin/python --others-python $(BENCH_VENV)/bin/python $(ARGS)

scale: $(STAMP) ## Plan and drive a job of 12,880 exposures whose tasks only pretend (ARGS="real" drizzles 100).
	$(BIN)/python -m tests.scale $(or $(ARGS),dry)

noise: $(STAMP) ## Compare the reported errors with the scatter of simulated blank sky.
	$(BIN)/python -m tests.noise $(ARGS)

cosmic-rays: $(STAMP) $(PARITY_STAMP) ## Compare the rejection of cosmic rays with the truth, beside DrizzlePac.
	$(BIN)/python -m tests.cosmic_rays --oracle-python $(PARITY_VENV)/bin/python $(ARGS)

integration: $(STAMP) ## Kill processes, fill disks, lose writes; figures for docs/reliability.md (ARGS=kills narrows it).
	$(BIN)/python -m tests.integration --page docs/reliability.md $(ARGS)

docs: $(DOCS_STAMP) ## Build the documentation into build/docs/site (ARGS=--no-notebooks is quicker).
	$(BIN)/python docs/make_site.py $(ARGS)
	$(BIN)/python -m mkdocs build --quiet --strict --config-file build/docs/mkdocs.yml

lint: $(LINT_STAMP) ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(LINT_STAMP) ## Bring the code into form.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

image: ## Build the image of scheduler, workers and service.
	docker build -f cluster/image/Dockerfile -t mosaic-hst .

up: ## Start scheduler, two workers, object store and job service in containers (docs/cluster.md).
	mkdir -p "$${MOSAIC_DATA:?name the folder of inputs and products}"/{inputs,mosaics,.objects,.state}
	docker compose up --build --detach

down: ## Stop them.
	docker compose down

clean: ## Remove what the targets made.
	rm -rf $(VENV) $(PARITY_VENV) $(BENCH_VENV) build demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
