# The two commands that do all the set-up on a fresh machine are `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Where a shell or an image forbids Python to keep what it has compiled, each of the thousands of processes that the
# tests start would compile all that it imports again: two thirds of what a control plane's start costs.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Half as many workers again as there are cores: most tests wait for processes that they started.
WORKERS ?= $(shell n=$$(nproc); echo $$((n + (n + 1) / 2)))

# In CI a test that fails is run once more and listed as RERUN: one race of thousands of tests with real
# processes must not lose a landing, and the list is there to be mended. By hand the first failure counts.
RERUNS ?= $(if $(CI),1,0)

.PHONY: help demo test check bench format schema clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/.installed  ## install, start the platform, deploy three real models, predict, print URLs
	$(BIN)/python examples/demo.py

test: $(VENV)/.installed-dev .setup/system .setup/azurite  ## install everything, then all checks and all tests
	$(MAKE) --no-print-directory style
	@# Types are checked beside the tests, which wait more than they compute; what is wrong is told behind them.
	@mkdir -p .cache; $(BIN)/basedpyright --level error > .cache/types.log 2>&1 & types=$$!; \
	trap 'kill $$types 2>/dev/null || true' EXIT; tests=0; \
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --reruns $(RERUNS) || tests=$$?; \
	wait $$types || { cat .cache/types.log; exit 1; }; exit $$tests

check: $(VENV)/.installed-dev .setup/postgresql .setup/azurite  ## the fast inner loop: lint, types, imports, unit tests (no platform is started)
	$(MAKE) --no-print-directory static
	$(BIN)/python -m pytest -n $(WORKERS) -q -m "not system" --ignore tests/policy/test_simulated.py tests/core tests/policy tests/store tests/analyze tests/registry tests/catalog tests/deploy tests/client tests/web

.PHONY: static style
static: style
	$(BIN)/basedpyright --level error

style: $(VENV)/.installed-dev
	$(BIN)/ruff format --check --quiet . || { echo 'Run: make format' >&2; exit 1; }
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports --no-logo --no-cache | tail -n 30

format: $(VENV)/.installed-dev  ## format the code, mend what the linter can
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --quiet --fix .

schema: $(VENV)/.installed-dev  ## write what is made of the code anew, after an adapter, an address or a migration came
	$(BIN)/python -c 'from modelyard.control.access_page import page; print(page(), end="")' > docs/access.md
	$(BIN)/python -c 'from modelyard.store.database import script_of_migrations as script; print(script(), end="")' > src/modelyard/store/new_file.sql.new
	mv src/modelyard/store/new_file.sql.new src/modelyard/store/new_file.sql
	$(BIN)/python -c 'import json; from modelyard.analyze.model_yaml import schema; print(json.dumps(schema(), indent=2, ensure_ascii=False))' > docs/model.yaml.schema.json

bench: $(VENV)/.installed-dev .setup/bench-programs  ## measure all questions, peers beside us (docs/performance.md); ARGS="overhead --quick"
	$(BIN)/python -m bench $(ARGS)

clean:  ## remove what set-up and tests left in this folder
	rm -rf $(VENV) .setup .cache build dist

# --- set-up; each step is done once and leaves a stamp

$(VENV)/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Modelyard needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { $(call apt,python3-venv); $(PYTHON) -m venv --clear $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8,<1'

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable . --group dev
	@touch $@ $(VENV)/.installed

.setup/system: .setup/postgresql
	@command -v chromium >/dev/null || { $(call apt,chromium); }
	@command -v redis-server >/dev/null || { $(call apt,redis-server); }
	@command -v clamd >/dev/null || test -x /usr/sbin/clamd || { $(call apt,clamav-daemon); }
	@command -v pypy3 >/dev/null || ( $(call apt,pypy3) ) || echo 'Without pypy3 some tests are skipped.' >&2
	@mkdir -p .setup && touch $@

.setup/postgresql:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { $(call apt,postgresql); }
	@mkdir -p .setup && touch $@

# Azure's own emulator, a program of Node.js (186 MB with all that it asks for).
.setup/azurite:
	@command -v npm >/dev/null || { $(call apt,nodejs npm); }
	@mkdir -p .setup/node
	@npm install --prefix .setup/node --no-audit --no-fund --no-save --loglevel error azurite@3 >/dev/null
	@touch $@

.setup/bench-programs:
	@command -v wrk >/dev/null || { $(call apt,wrk); }
	@command -v h2load >/dev/null || { $(call apt,nghttp2-client); }
	@mkdir -p .setup && touch $@

# apt-get as root, or through sudo; without either the package is named.
define apt
if [ "$$(id -u)" = 0 ]; then run=; elif command -v sudo >/dev/null; then run=sudo; \
else echo 'Install this system package first: $(1)' >&2; exit 1; fi; \
echo 'Installing $(1) ...'; $$run apt-get update -qq; \
DEBIAN_FRONTEND=noninteractive $$run apt-get install -y -qq --no-install-recommends $(1) >/dev/null
endef
