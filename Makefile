# Two commands: `make demo` and `make test`. Both install what they need into .venv first.
VENV ?= .venv
ARGS ?=
WORKERS ?= auto
ifeq ($(OS),Windows_NT)
PYTHON ?= python
RUN = $(VENV)/Scripts/
else
PYTHON ?= python3
RUN = $(VENV)/bin/
endif

.PHONY: demo test lint bench install

demo: $(VENV)/installed
	$(RUN)vader3d demo $(ARGS)

# A process a core, eight at most, each with the tests of whole files.
test: $(VENV)/installed
	$(RUN)python -m pytest -q -n $(WORKERS) --maxprocesses 8 --dist loadfile $(ARGS)

lint: $(VENV)/installed
	$(RUN)python -m ruff check .
	$(RUN)python -m ruff format --check .
	$(RUN)python -m mypy vader3d examples

bench: $(VENV)/installed
	$(RUN)python benchmarks/render.py $(ARGS)

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(RUN)python -m pip install --quiet --upgrade pip
	$(RUN)python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(RUN)python -m pip install --quiet --no-deps --target $(VENV)/judges torch-fidelity==0.4.0
	touch $@
