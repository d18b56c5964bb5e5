# Two commands on a bare clone: `make demo` and `make test`. Everything lands in .venv and .fraudray.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two tests at a time, each process taking what the other has left.
IN_PAIRS := -n 2 --dist worksteal
DATA ?=
PROMETHEUS ?=
ENGINE ?= docker
IMAGES := ray ui mlflow
REGISTRY ?= fraudray
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' training/__init__.py)

.DEFAULT_GOAL := help
.PHONY: help setup demo monitoring test lint check soak honest-evaluation bench-scoring bench-sweep bench-serving bench-desk bench-monitoring screenshots dashboards images push minikube-up minikube-smoke minikube-down image-test manifests lock clean

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

monitoring: setup  ## Watch what runs here: Prometheus (PROMETHEUS=path), and Grafana where it is, until Ctrl-C
	@exec $(BIN)/fraudray monitoring $(if $(PROMETHEUS),--prometheus "$(PROMETHEUS)")

test: setup  ## Run every test that this machine can run
	@$(BIN)/python -m pytest $(IN_PAIRS) tests/unit tests/manifests tests/rules tests/scripts; status=$$?; \
	  $(BIN)/python -m pytest tests/app tests/browser tests/cluster && exit $$status

lint: setup  ## Style, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint  ## What `lint` does, and the fast tests
	@$(BIN)/python -m pytest -q $(IN_PAIRS) -m "not slow and not soak"

soak: setup  ## The long runs: demos, millions of rows, kills, a cluster that loses a node
	@$(BIN)/python -m pytest -m soak -s tests

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

bench-monitoring: setup  ## What all monitoring together costs at 64 connections: docs/results/monitoring.md
	@$(BIN)/python benchmarks/bench_monitoring.py

screenshots: setup  ## Every page of the desk, light, dark and on a phone: docs/images; needs chromium
	@$(BIN)/python tests/browser/screenshots.py

dashboards: setup  ## Dashboards and alert rules, from grafana/*.py: grafana/dashboards, grafana/rules
	@$(BIN)/python -m grafana.build

images:  ## The images ray, ui and mlflow; ENGINE=podman, REGISTRY=host/owner/fraudray
	@for image in $(IMAGES); do \
	  $(ENGINE) build --target $$image --build-arg VERSION=$(VERSION) \
	    --build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null || echo unknown) $(if $(BASE),--build-arg BASE=$(BASE)) \
	    --tag $(REGISTRY)/$$image:$(VERSION) . || exit 1; done

push:  ## Push them to REGISTRY
	@for image in $(IMAGES); do $(ENGINE) push $(REGISTRY)/$$image:$(VERSION) || exit 1; done

minikube-up:  ## All of it in Minikube, from nothing to a scored payment; CPUS=4 MEMORY=8192
	@scripts/minikube-up.sh

minikube-smoke:  ## Have the graph in Minikube score a payment
	@scripts/minikube-smoke.sh

minikube-down:  ## Stop it, keeping what is in it; PURGE=1 removes it for good
	@scripts/minikube-down.sh $(if $(PURGE),--purge)

image-test:  ## Build the images and have one score payments; ENGINE=podman, BASE=an image at hand
	@scripts/image-test.sh

manifests: setup  ## Write what manifests have from elsewhere: serve.yaml, versions, rules
	@$(BIN)/python -m k8s.manifests

lock:  ## Resolve requirements*.txt anew, for every supported Python and for the images (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-emit-index-url -o requirements.txt
	cp requirements.txt requirements-image.txt  # uv keeps to what is there, where it can
	uv pip compile pyproject.toml --extra image --universal --python-version 3.13 \
	  --no-emit-package xgboost --no-emit-package nvidia-nccl-cu13 \
	  --generate-hashes --no-header --no-emit-index-url -o requirements-image.txt

clean:  ## Remove .venv and caches; .fraudray, which holds your models, stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
