# make demo    the whole of Sealpost on this machine, with mail to read
# make test    every test, with real servers and a real browser
# make check   format, lint, import contracts, types, tests: what a commit must pass
# make bench   figures and ratios
# make carol   the demo's outside correspondent reads her newest mail with openssl
# make clean   removes the demo's data

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check lint bench carol clean lock

help:
	@sed -n 's/^# //p' Makefile

# The environment is made anew when a lock file changes. Wheels are checked against their hashes.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Installing python3-venv …"; apt-get update -qq && apt-get install -y -qq python3-venv \
	  || { echo "As root, run: apt-get install python3-venv"; exit 1; }; $(PYTHON) -m venv $(VENV); }

$(VENV)/.demo: requirements.lock | $(VENV)/bin/python
	@echo "Installing Python packages …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock | $(VENV)/bin/python
	@echo "Installing Python packages …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	@exec $(BIN)/python -m launcher.demo

carol: $(VENV)/.demo
	@$(BIN)/python -m launcher.carol

test: $(VENV)/.dev
	@$(BIN)/python -m launcher.packages tests
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/python -m tests.environment $(BIN)/lint-imports
	$(BIN)/python -m tests.environment $(BIN)/mypy
	$(BIN)/python -m tests.environment $(BIN)/python manage.py makemigrations --check --dry-run

check: lint test

bench: $(VENV)/.dev
	@$(BIN)/python -m launcher.packages tests
	@$(BIN)/python -m bench $(ARGS)

lock: $(VENV)/.dev
	$(BIN)/python -m pip install -q pip-tools
	$(BIN)/pip-compile -q --generate-hashes --strip-extras --no-emit-index-url -o requirements.lock pyproject.toml
	$(BIN)/pip-compile -q --generate-hashes --strip-extras --no-emit-index-url --extra dev -o requirements-dev.lock pyproject.toml

clean:
	@$(PYTHON) -m launcher.clean
