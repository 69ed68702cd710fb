# tutor-sim. `make help` lists the targets; `make demo` and `make test` need only Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
ARGS ?=
# One process a core; every test keeps to one thread.
PARALLEL ?= --numprocesses auto --maxprocesses 8
.PHONY: help install demo demo-short test test-slow test-gpu check format clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tutor-sim needs Python 3.11 or newer; try make PYTHON=python3.11")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

install: $(STAMP) ## Create .venv and install everything that is needed

demo: $(STAMP) ## Train an RL² tutor, compare it with all the others, write the report
	$(BIN)/tutor-sim compare experiments/quickstart.yaml

demo-short: $(STAMP) ## The demo in its short form (a minute; the tutor is not yet good)
	$(BIN)/tutor-sim compare experiments/quickstart.yaml --short

test: $(STAMP) ## Run the tests (slow ones excluded)
	$(BIN)/pytest $(PARALLEL) $(ARGS)

test-slow: $(STAMP) ## Run the slow tests: learning to a threshold, killing and resuming
	$(BIN)/pytest $(PARALLEL) -m 'slow and not gpu' $(ARGS)

test-gpu: $(STAMP) ## Run the tests that need a GPU
	$(BIN)/pytest -m gpu $(ARGS)

check: $(STAMP) ## Format, lint, types, import contracts, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove what the targets made, runs excepted
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
