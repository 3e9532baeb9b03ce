# Two commands: `make demo` and `make test`. Both install what they need into .venv first.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/
ARGS ?=

.PHONY: demo test lint bench install

demo: $(VENV)/installed
	$(RUN)vader3d demo $(ARGS)

test: $(VENV)/installed
	$(RUN)python -m pytest -q $(ARGS)

lint: $(VENV)/installed
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)mypy vader3d

bench: $(VENV)/installed
	$(RUN)python benchmarks/render.py $(ARGS)

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(RUN)python -m pip install --quiet --upgrade pip
	$(RUN)python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(RUN)python -m pip install --quiet --no-deps --target $(VENV)/judges torch-fidelity==0.4.0
	touch $@
