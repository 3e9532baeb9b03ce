# Two commands: `make demo` and `make test`. Each installs what it needs into .venv first.
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

.PHONY: demo test lint bench resolve install

demo: $(VENV)/installed
	$(RUN)vader3d demo $(ARGS)

# A process a core, eight at most, each with the tests of whole files.
test: $(VENV)/tested
	$(RUN)python -m pytest -q -n $(WORKERS) --maxprocesses 8 --dist loadfile $(ARGS)

lint: $(VENV)/tested
	$(RUN)python -m ruff check .
	$(RUN)python -m ruff format --check .
	$(RUN)python -m mypy vader3d examples

bench: $(VENV)/installed
	$(RUN)python benchmarks/render.py $(ARGS)

# Whether both commands would install on a plain Linux: asks the package index, installs nothing.
resolve: $(VENV)/tested
	$(RUN)python .ci/resolve.py

install: $(VENV)/installed
	@echo "Installed. Next: 'make demo'; then open runs/demo/index.html in a browser."

# What is shown while the large files come is pip's own; the rest is quiet.
$(VENV)/installed: pyproject.toml constraints.txt setup.py
	@echo "Installing into $(VENV). To download: 2.9 GB where torch comes with CUDA (pip's own on Linux), .3 GB where"
	@echo "it does not; README.md says how to choose. To remove: delete $(VENV)."
	@$(PYTHON) -m venv $(VENV)
	@$(RUN)python -m pip install --quiet --upgrade pip
	@$(RUN)python -m pip install --disable-pip-version-check -c constraints.txt -e '.[evaluation,meshes]'
	@touch $@

# torch-fidelity lies apart: beside torchmetrics it would be taken for whole, which it is not without torchvision.
$(VENV)/tested: $(VENV)/installed
	@echo "Installing what tests and linters need. To download: .4 GB, .2 GB where torch came with CUDA."
	@$(RUN)python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@$(RUN)python -m pip install --quiet --no-deps --upgrade --target $(VENV)/judges torch-fidelity==0.4.0
	@touch $@
