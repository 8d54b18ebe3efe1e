# Everything that is done with this repository. The first call makes the environment; nothing else is needed before it.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Each job has services of its own. TEST_JOBS= runs all tests in one process.
TEST_JOBS ?= -n 3 --dist loadfile --no-loadscope-reorder
READY := $(VENV)/.ready
UV := $(shell command -v uv 2>/dev/null)

.PHONY: help lab demo test check bench clean browser lock setup

help: ## Show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

lab: $(READY) ## Set up everything and open JupyterLab on the welcome notebook
	$(BIN)/jupyter promptcards lab work $(LAB_OPTIONS)

demo: $(READY) ## The whole way once, without a browser: run the starter cards, write reports
	$(BIN)/jupyter promptcards demo $(DEMO_OPTIONS)

test: $(READY) browser ## Set up everything and run all tests
	$(BIN)/python -m pytest $(TEST_JOBS) $(TEST_OPTIONS)

check: $(READY) ## Style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## Measure; results go to bench/RESULTS.md
	$(BIN)/python -m bench.stats --write bench/RESULTS.md
	$(BIN)/python -m bench.engine --write bench/RESULTS.md
	$(BIN)/python -m bench.server --write bench/RESULTS.md
	$(BIN)/python -m bench.search --write bench/RESULTS.md
	$(BIN)/python -m bench.audit --write bench/RESULTS.md
	$(BIN)/python -m bench.analytics --write bench/RESULTS.md
	$(BIN)/python -m bench.ingest --write bench/RESULTS.md
	$(BIN)/python -m bench.responsive --write bench/RESULTS.md
	$(BIN)/python -m bench.sockets --write bench/RESULTS.md
	$(BIN)/python -m bench.control --write bench/RESULTS.md
	$(BIN)/python -m bench.widgets --write bench/RESULTS.md
	$(BIN)/python -m bench.batch --write bench/RESULTS.md
	$(BIN)/python -m bench.batch --processes 2 --write bench/RESULTS.md
	$(BIN)/python -m bench.batch --calls 100000 --rounds 1 --write bench/RESULTS.md
	$(BIN)/python -m bench.batch --fail-every 20 --rounds 1 --write bench/RESULTS.md

clean: ## Stop the services, delete environment, caches and test artefacts (never your data)
	-@test ! -x $(BIN)/jupyter-promptcards || $(BIN)/jupyter promptcards services stop
	rm -rf $(VENV) build dist artefacts .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup: $(READY) ## Only make the environment

lock: $(READY) ## Resolve the locked requirements anew
	@test -n "$(UV)" || test -x $(BIN)/uv || $(BIN)/pip install --disable-pip-version-check -q uv
	$(or $(UV),$(BIN)/uv) pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header -q -o requirements/ci.txt

# Exactly the locked files, checked by hash; then this checkout, editable. A half-made environment is made again.
$(READY): requirements/ci.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Prompt Cards needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
ifneq ($(UV),)
	@test -x $(BIN)/python || $(UV) venv --python $(PYTHON) $(VENV)
	$(UV) pip install --python $(BIN)/python --require-hashes -q -r requirements/ci.txt
	$(UV) pip install --python $(BIN)/python --no-deps -q -e .
else
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --require-hashes -q -r requirements/ci.txt
	$(BIN)/pip install --disable-pip-version-check --no-deps -q -e .
endif
	@touch $@

# Browser tests use Debian's Chromium. Where it cannot be had they are skipped, each with its reason.
browser:
	@command -v chromium >/dev/null 2>&1 || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    echo "Installing Chromium for the browser tests …"; \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
	      >/tmp/promptcards-chromium.log 2>&1 || echo "Chromium could not be installed; see /tmp/promptcards-chromium.log"; \
	  fi
