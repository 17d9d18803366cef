# make demo: the whole recipe. make check: lint and tests, what CI runs.
PYTHON ?= python3.11
VENV := .venv
# What is installed, a file each: what the demo needs; what tests need too; what the checks of the code need.
READY := $(VENV)/ready
READY_TEST := $(VENV)/ready-test
READY_DEV := $(VENV)/ready-dev
RUN := runs/tiny
# A Python with datatrove, in an environment of its own (benchmarks/peers/requirements.txt).
PEER ?= peer/bin/python
# The same with litgpt and with llama_cpp; left out when empty.
LITGPT ?=
LLAMA ?=

.PHONY: demo test lint check bench clean

demo: $(READY)
	$(VENV)/bin/herd run tiny --out $(RUN)

test: $(READY_TEST)
	$(VENV)/bin/python -m pytest -n 2 --dist worksteal

lint: $(READY_DEV)
	$(VENV)/bin/ruff check herd tests examples benchmarks hatch_build.py
	$(VENV)/bin/ruff format --check herd tests examples benchmarks hatch_build.py hatch_build.py
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python

check: lint test

# The pinned versions are those the tests were last seen to pass with. Modules are compiled when they are first imported:
# most never are, and all of them compiled take 0.2 GB.
INSTALL := $(VENV)/bin/python -m pip install --quiet --no-compile --constraint constraints.txt
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(INSTALL) --editable .
	touch $(READY)

$(READY_TEST): $(READY) tests/packages.txt
	$(INSTALL) --editable ".[test]"
	$(VENV)/bin/python -m pip install --quiet --no-compile --no-deps --requirement tests/packages.txt
	touch $(READY_TEST)

$(READY_DEV): $(READY_TEST)
	$(INSTALL) --editable ".[dev]"
	touch $(READY_DEV)

bench: $(READY_TEST)
	$(VENV)/bin/python benchmarks/training.py --litgpt "$(LITGPT)" | tee -a benchmarks/results/training.jsonl
	$(VENV)/bin/python benchmarks/generation.py --llama "$(LLAMA)" | tee -a benchmarks/results/generation.jsonl
	$(VENV)/bin/python benchmarks/faults.py | tee -a benchmarks/results/faults.jsonl
	$(VENV)/bin/python benchmarks/curate.py --peer $(PEER) | tee -a benchmarks/results/curate.jsonl
	$(VENV)/bin/python benchmarks/curate_scale.py | tee -a benchmarks/results/curate.jsonl

clean:
	rm -rf $(VENV) dist .pytest_cache .ruff_cache
