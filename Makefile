# `make demo` and `make test` are all that a user needs. Both set up .venv when it is absent or
# older than the files that describe it.

PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/demo
JOBS ?= 2
# Networks of tests are small: more than one thread each only slows them down.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

.PHONY: demo test test-docs test-tensorflow lint format setup clean

demo: .venv/.ready
	$(BIN)/simplechrome demo -o $(RUN) --overwrite

test: .venv/.ready
	$(PYTEST) --dist loadfile -m "not tensorflow and not docs"

test-docs: .venv/.ready
	$(PYTEST) -m docs tests/test_pages.py tests/test_extend.py

test-tensorflow: .venv/.tensorflow
	$(PYTEST) --dist loadfile -m tensorflow tests/export tests/cli

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
