# Everything below works on a bare Debian or macOS with make and Python >= 3.11 with venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
MADE := $(VENV)/.made-$(PYTHON_VERSION)
INSTALLED := $(VENV)/.installed-$(PYTHON_VERSION)
INSTALLED_TEST := $(VENV)/.installed-test-$(PYTHON_VERSION)
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: run install test test-external lint bench fuzz clean

run: install
	@$(BIN)/tessera serve

install: $(INSTALLED)

$(MADE):
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit("Python 3.11 or later is needed: make PYTHON=…")'
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(INSTALLED): $(MADE) pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(INSTALLED_TEST): $(INSTALLED)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

test: $(INSTALLED_TEST)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not external and not slow'

test-external: $(INSTALLED_TEST)
	$(BIN)/python -m pytest -m external

lint: $(INSTALLED_TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED_TEST)
	$(BIN)/python -m benchmarks all

fuzz: $(INSTALLED_TEST)
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest -n 2 tests/pdp tests/schema -m 'not external'
	$(PIP) install --quiet --constraint constraints.txt --editable '.[test,fuzz]'
	$(BIN)/python -m tests.fuzz.fuzz_schema

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
