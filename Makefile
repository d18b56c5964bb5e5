# Two commands on a bare clone: `make demo` and `make test`. Everything lands in .venv and .fraudray.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint check soak honest-evaluation bench-scoring bench-sweep bench-serving bench-desk screenshots lock clean

help:  ## Say what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: $(VENV)/.complete  ## Make .venv with the pinned packages

# The stamp is written last, so a set-up that was cut off is done again.
$(VENV)/.complete: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("fraudray needs Python 3.11 to 3.13; $(PYTHON) is " + sys.version.split()[0] + ". Name another: make setup PYTHON=python3.12")'
	@echo "Setting up $(VENV): about 2 GB of pinned packages, a few minutes the first time ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup  ## Show all of it, until Ctrl-C; DATA=payments.csv for a file of your own
	@exec $(BIN)/fraudray demo $(if $(DATA),"$(DATA)")

test: setup  ## Run every test that this machine can run
	@$(BIN)/python -m pytest

lint: setup  ## Style, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint  ## What `lint` does, and the fast tests
	@$(BIN)/python -m pytest -q -m "not slow and not soak"

soak: setup  ## The long runs: demos, millions of rows, a cluster that loses a node
	@$(BIN)/python -m pytest -m soak -s tests/soak tests/cluster

honest-evaluation: setup  ## Leaky procedures beside an honest one: docs/honest-evaluation.md
	@$(BIN)/python benchmarks/honest_evaluation.py

bench-scoring: setup  ## Speed of scoring, audit and simulator: docs/results/scoring.md
	@$(BIN)/python benchmarks/bench_scoring.py

bench-sweep: setup  ## Speed and memory of a sweep beside its peers: docs/results/sweep.md
	@$(BIN)/python benchmarks/bench_sweep.py

bench-serving: setup  ## Speed of the graph beside its peers, promotions, kills: docs/results/serving.md
	@$(BIN)/python benchmarks/bench_serving.py

bench-desk: setup  ## Speed and memory of the page beside a running `make demo`: docs/results/desk.md
	@$(BIN)/python benchmarks/bench_desk.py

screenshots: setup  ## Every page of the desk, light, dark and on a phone: docs/images; needs chromium
	@$(BIN)/python tests/browser/screenshots.py

lock:  ## Resolve requirements.txt anew, for every supported Python at once (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-emit-index-url -o requirements.txt

clean:  ## Remove .venv and caches; .fraudray, which holds your models, stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
