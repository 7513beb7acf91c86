# Every target makes the virtualenv if it is missing, and installs again only when the dependencies changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
SCHEMA := configs/mmst.schema.json

.PHONY: help quickstart test lint docs bench
.DEFAULT_GOAL := help

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

quickstart: $(INSTALLED) $(SCHEMA) ## Train the embedded default, about two minutes; ARGS=--overwrite runs it again
	$(BIN)/mmst train configs/quickstart.yaml $(ARGS)

test: $(INSTALLED) ## Run all tests; ARGS='-m "not slow"' leaves the long ones out
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile $(ARGS)

lint: $(INSTALLED) ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/zensical build --strict

docs: $(INSTALLED) ## Build the pages of docs/ as a site, in site/
	$(BIN)/zensical build --strict

bench: $(INSTALLED) ## Measure beside a plain script; tables and JSON in benchmarks/out
	$(BIN)/python benchmarks/run_all.py $(ARGS)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "mmst needs Python 3.11 or newer; name one: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# What the first line of the configs names, for editors.
$(SCHEMA): $(INSTALLED) $(wildcard src/mmst_cli/config/*.py)
	$(BIN)/mmst schema --output $@ --overwrite
