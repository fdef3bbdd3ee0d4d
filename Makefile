# PYTHON is only used to make .venv; everything else runs inside it.
PYTHON ?= python3.11
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test check docs wheel lock clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv, install the locked packages and fetch the jars (3 s when nothing has changed)
	@command -v "$(PYTHON)" >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11, or name it with \`make setup PYTHON=/path/to/python3.11\`." >&2; exit 1; }
	@"$(PYTHON)" lakehouse/install.py $(if $(DEBUG),--debug)

demo: setup ## Real complaints from Kafka to decisions, with what happened on the way
	@$(BIN)/complaints demo

test: setup ## Run all tests
	@$(BIN)/python -m pytest

check: setup ## Check style, format and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

docs: setup ## Write docs/tables.md anew from the table declarations
	@$(BIN)/python -m streaming.tables > docs/tables.md

wheel: ## Build the wheel in dist/, which the bundle deploys; `make setup` comes before
	@test -x $(BIN)/python || { echo "There is no .venv to build with: run \`make setup\` first." >&2; exit 1; }
	@rm -rf build dist && $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . && rm -rf build

lock: ## Write both locks anew from pyproject.toml (versions already in them are kept where they can be)
	@tool=$$(mktemp -d) && trap 'rm -rf "$$tool"' EXIT && "$(PYTHON)" -m venv "$$tool" && \
	"$$tool/bin/pip" install --quiet uv && lock() { "$$tool/bin/uv" pip compile pyproject.toml --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --quiet "$$@"; } && \
	lock --extra dev --extra local --universal --python-version 3.11 --output-file requirements.lock && \
	lock --constraint resources/runtime.txt --python-version 3.12 --python-platform x86_64-manylinux_2_28 \
		--output-file resources/requirements.lock

clean: ## Remove .venv, the jars and what tools left (not the data in .lakehouse)
	@rm -rf .venv .jars build dist ./*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
