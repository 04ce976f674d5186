# Two commands do everything: `make demo` and `make test`. Both set up .venv when it is absent or
# older than the files that describe it, and are quick when nothing changed.

PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/demo

.PHONY: demo test test-tensorflow lint format setup clean

demo: .venv/.ready
	$(BIN)/simplechrome demo -o $(RUN) --overwrite

test: .venv/.ready
	$(BIN)/python -m pytest -m "not tensorflow"

test-tensorflow: .venv/.tensorflow
	$(BIN)/python -m pytest -m tensorflow tests/export tests/cli

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "SimpleChrome needs Python 3.11 or newer: make PYTHON=python3.12 …" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,lint]'
	@touch $@

.venv/.tensorflow: .venv/.ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,lint,tensorflow]'
	@touch $@

clean:
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
