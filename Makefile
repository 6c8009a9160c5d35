PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One process more than there are processors, for many tests wait; in their order, for the long ones come first.
PYTEST = $(BIN)/python -m pytest --numprocesses=$$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist=loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install demo dev test test-rabbitmq test-cluster unit chaos lint format docs site bench bench-scale bench-commands
.PHONY: bench-growth bench-profile composing clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 16

install: $(READY) ## make .venv with everything in it, if it is missing or out of date

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Postroom needs Python 3.11 or later: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	@echo "making $(VENV) (once; a minute or so)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: install ## watch letters leave through a real worker
	@$(BIN)/postroom demo

dev: install ## server, worker, capturing relay and Flower, until Ctrl-C
	@$(BIN)/postroom dev

test: install ## all tests, in several processes
	@$(PYTEST)

test-rabbitmq: install ## the tests that start workers, with RabbitMQ as broker; a server for each processor
	@POSTROOM_TEST_BROKER=rabbitmq $(PYTEST) tests/integration

test-cluster: install ## the integration tests, with their ledgers on a Redis Cluster of three nodes
	@POSTROOM_TEST_LEDGER=cluster $(PYTEST) tests/integration

unit: install ## the fast tests
	@$(BIN)/python -m pytest tests/unit

chaos: install ## 2,000 letters, every fault, three accounts compared (CHAOS_LETTERS, CHAOS_SEED)
	@CHAOS_LETTERS=$${CHAOS_LETTERS:-2000} $(BIN)/python -m pytest -s tests/chaos

lint: install ## format, style, types, architecture, docs
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python docs/generate.py --check
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: install ## mend format and style
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

docs: install ## write the tables of the docs anew
	@$(BIN)/python docs/generate.py

site: install ## build the docs as a site, in site/: a broken link fails it
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo site/index.html

bench: install ## letters a second, ours and the peers' (ROWS="bulk naive" for some)
	@$(BIN)/python benchmarks/run.py $(ROWS)

bench-scale: install ## letters a second with 1, 2 and 4 worker processes
	@$(BIN)/python benchmarks/run.py bulk-1 bulk-2 bulk-4

bench-commands: install ## what a letter asks of the ledger's Redis, command by command
	@$(BIN)/python benchmarks/commands.py

bench-profile: install ## where the CPU goes, of those who send and of the worker (py-spy)
	@PATH="$(BIN):$$PATH" $(BIN)/python benchmarks/profiled.py

bench-growth: install ## what a ledger costs with nothing in it, and with 100,000 letters (SIZES="0 1000000" for others)
	@$(BIN)/python benchmarks/growth.py $(SIZES)

composing: install ## what composing costs, beside the standard library
	@$(BIN)/python benchmarks/compose.py

clean: ## remove .venv and everything that was made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .postroom .bench build dist site
