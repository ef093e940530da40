# make demo        the whole job on a synthetic clinic, into out/demo
# make test        the test suite; make test-all adds statistics and fuzz at length
# make test-browser the reading room in a real Chromium; screenshots into out/browser
# make check       style, format, types, import contracts
# make bench       attention against what people would use instead, as a table
# make wheelhouse  everything for a machine without network, into wheelhouse/
#
# Needs Python 3.11 or newer, pip and make; everything else is installed into .venv at the versions of constraints.txt.

PYTHON  ?= python3
VENV    ?= .venv
WORKERS ?= 2
BIN     := $(VENV)/bin

.PHONY: demo test test-all test-browser check format bench wheelhouse clean

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("attending needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0 --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python recipes/demo.py --out out/demo $(if $(PATIENTS),--patients $(PATIENTS))

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q

test-all: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q -m ''

test-browser: $(VENV)/.installed
	$(BIN)/python -m pytest tests/browser -q -m browser

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks.attention

wheelhouse: $(VENV)/.installed
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --wheel-dir wheelhouse --constraint constraints.txt torch==2.13.0 '.[dev]'
	@echo 'On the other machine: pip install --no-index --find-links wheelhouse attending'

clean:
	rm -rf out build dist *.egg-info
