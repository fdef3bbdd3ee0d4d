# PYTHON only creates .venv; everything else runs inside it.
PYTHON ?= python3.11
BIN := .venv/bin

# Two processes share the tests: one runs all tests that call Spark, the other those that start programs (tests/groups.py).
WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo live test test-text test-dashboards test-databricks test-faults test-benchmarks test-notebooks longer chromium check classes docs notebooks screenshots wheel lock lock-dashboards clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Create .venv, install the locked packages and download the jars (3 s when nothing has changed)
	@command -v "$(PYTHON)" >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11, or name it with \`make setup PYTHON=/path/to/python3.11\`." >&2; exit 1; }
	@"$(PYTHON)" lakehouse/setup/install.py $(if $(DEBUG),--debug)

demo: setup ## Take real complaints from Kafka to decisions, and report each step
	@$(BIN)/complaints demo

live: setup ## Stream sample complaints with the dashboards up, at the address that it shows, until Ctrl-C
	@$(BIN)/complaints live

test: setup $(if $(LONGER),longer) ## Run the tests; with LONGER=1 also the text, dashboards, databricks and notebooks tests, in the same run
	@$(PYTEST) $(if $(LONGER),-m "not faults and not benchmarks")

longer: setup chromium ## Download what the longer tests need: text features, Superset, a browser
	@$(BIN)/complaints setup --with sentiment --with embeddings
	@$(BIN)/complaints superset install

test-text: longer ## Run the tests of the optional text features
	@$(PYTEST) -m text

test-dashboards: longer ## Run the tests of the dashboards: Superset, a live stream, a real browser
	@$(PYTEST) -m superset

test-databricks: setup ## Run the tests that deploy the bundle and run its tasks; skipped without the CLI's sandbox
	@$(PYTEST) -m bundle

test-notebooks: setup ## Run the notebooks from top to bottom, each in its own kernel
	@$(PYTEST) -m notebooks

test-faults: setup ## Inject random faults into a stream for an hour, and count after each
	@$(BIN)/python -m pytest -m faults

test-benchmarks: setup ## Run the benchmark tests, which measure (ten minutes)
	@$(BIN)/python -m pytest -m benchmarks

chromium:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
		echo "Chromium and its driver are missing: installing Debian's chromium and chromium-driver."; \
		sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
		$$sudo apt-get update -q >/dev/null && $$sudo apt-get install -y -q --no-install-recommends chromium chromium-driver >/dev/null || { \
			echo "They could not be installed: install Chromium and chromedriver so that both are on PATH." >&2; exit 1; }; }

check: setup ## Check style, format and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

docs: setup ## Regenerate docs/tables.md, the pictures of docs/architecture.md, docs/dashboards.md and the charts' SQL
	@$(BIN)/python -m streaming.tables > docs/tables.md
	@$(BIN)/python -m tests.rooms
	@$(BIN)/complaints superset reference

notebooks: setup ## Run the notebooks on the lake in .lakehouse (from `make demo`), and save them with their outputs
	@$(BIN)/python -m notebooks.run

classes: setup ## Regenerate the list of classes that Spark starts with, from what a demo in an empty folder loads
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && rm -rf .venv/shared-classes && \
	JDK_JAVA_OPTIONS="-XX:DumpLoadedClassList=$$folder/%p" COMPLAINTS_ROOT="$$folder/lake" $(BIN)/complaints demo && \
	gzip --best --no-name --stdout "$$(ls -S "$$folder"/pid* | head -1)" > lakehouse/setup/shared_classes.list.gz

screenshots: setup chromium ## Take the screenshots in docs/dashboards again, with the browser test
	@SCREENSHOTS=docs/dashboards $(BIN)/python -m pytest -m superset tests/dashboards/live/test_dashboards.py -k draws_every_chart

wheel: ## Build the wheel in dist/, which the bundle deploys; run `make setup` first
	@test -x $(BIN)/python || { echo "There is no .venv to build with: run \`make setup\` first." >&2; exit 1; }
	@rm -rf build dist && $(BIN)/uv build --quiet --wheel --no-build-isolation && rm -rf build

lock: setup ## Regenerate both locks from pyproject.toml (keeps the versions already in them where possible)
	@lock() { $(BIN)/uv pip compile pyproject.toml --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --quiet "$$@"; } && \
	lock --extra dev --extra local --universal --python-version 3.11 --output-file requirements.lock && \
	lock --constraint resources/runtime.txt --python-version 3.12 --python-platform x86_64-manylinux_2_28 \
		--output-file resources/requirements.lock

lock-dashboards: setup ## Regenerate dashboards/requirements.lock from dashboards/requirements.in
	@$(BIN)/uv pip compile dashboards/requirements.in --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock-dashboards" \
		--quiet --output-file dashboards/requirements.lock

clean: ## Remove .venv, the jars and what tools left behind (not the data in .lakehouse)
	@rm -rf .venv .superset .jars .uv-cache build dist ./*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
