# make demo   the whole job on a synthetic clinic, into out/demo
# make test   the test suite; make test-all adds statistics and fuzz at length
# make check  style, format, types, import contracts
# make bench  the attention benchmarks; make wheelhouse  everything for a machine without network

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test test-all check format bench wheelhouse clean

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python recipes/demo.py --out out/demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

test-all: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -q -m ''

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/attention.py

wheelhouse: $(VENV)/.installed
	$(BIN)/python -m pip download --quiet --dest wheelhouse --constraint constraints.txt torch==2.13.0 'setuptools>=77' wheel '.[dev]'
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir wheelhouse .
	@echo 'On the other machine: pip install --no-index --find-links wheelhouse attending'

clean:
	rm -rf out build dist *.egg-info
