# What a developer, a plant and CI run; `make` alone lists it. From elsewhere: make -C PATH TARGET.

PYTHON ?= python3
# cpu or gpu: which ONNX Runtime. Without a word, what .venv already has.
EXTRA ?= $(or $(patsubst .venv/.ready-%,%,$(firstword $(wildcard .venv/.ready-*))),cpu)
ARGS ?=

PACKAGES := service models labeling monitoring storage simulation
# torch comes first and alone: asked for by another package, pip may take a newer build with gigabytes of CUDA.
TORCH := $(shell sed -n 's/.*"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet --quiet
READY := .venv/.ready-$(EXTRA)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench bench-peers soak clean

help: ## list the targets
	@echo "make TARGET [ARGS='…'] [EXTRA=gpu] [PYTHON=/path/to/python3.12]"
	awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## build .venv with everything (EXTRA=gpu: for an NVIDIA GPU); does nothing when it is up to date

$(READY): pyproject.toml constraints.txt
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
		echo "setup: $(PYTHON) is missing or older than Python 3.11" >&2
		echo "setup: install Python 3.11 or newer, or name it: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.12" >&2
		exit 1
	fi
	if ! [ -x .venv/bin/pip ]; then
		echo "setup: .venv with $$($(PYTHON) --version)"
		$(PYTHON) -m venv .venv
	fi
	# The two runtimes share one import name, so the other one goes before this one comes.
	$(PIP) uninstall --yes $(if $(filter gpu,$(EXTRA)),onnxruntime,onnxruntime-gpu)
	echo "setup: $(TORCH), the trainer"
	$(PIP) install --constraint constraints.txt '$(TORCH)'
	echo "setup: Loupe with $(EXTRA), train, console, postgres, dev"
	$(PIP) install --constraint constraints.txt --editable '.[$(EXTRA),train,console,postgres,dev]'
	rm -f .venv/.ready-*
	touch $@
	echo "setup: ready after $$SECONDS s; try .venv/bin/loupe --help"

demo: setup ## the whole loop on rendered parts, with a line simulator
	@.venv/bin/loupe demo $(ARGS)

test: setup ## tests and the examples in docstrings, all but the long soak runs
	@.venv/bin/python -m pytest --no-header -n 2 -m 'not soak' --doctest-modules --ignore=storage/migrations $(ARGS) tests $(PACKAGES)

check: setup ## what CI holds: lint, format, types, import rules
	@.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

bench: setup ## speed of this machine beside its own limit; ARGS=--quick: in about a minute
	@.venv/bin/loupe bench serve $(ARGS)

bench-peers: setup .venv-peers/.ready ## the same beside other servers around the same model
	@.venv/bin/loupe bench serve --peers $(ARGS)

# Their own environment: what they need must not decide what Loupe gets. Only what infers has to be the same.
.venv-peers/.ready: constraints.txt
	@echo "bench-peers: LitServe, BentoML, Ray Serve, river in .venv-peers (about 800 MB)"
	$(PYTHON) -m venv .venv-peers
	echo '*' > .venv-peers/.gitignore
	grep -E '^(numpy|onnxruntime|opencv-python-headless|simplejpeg)==' constraints.txt > .venv-peers/constraints.txt
	.venv-peers/bin/pip --disable-pip-version-check --quiet --quiet install --prefer-binary \
		--constraint .venv-peers/constraints.txt litserve bentoml 'ray[serve]' fastapi uvicorn python-multipart \
		onnxruntime simplejpeg opencv-python-headless numpy river
	touch $@

soak: setup ## the long fault and load runs, half an hour (docs/reliability.md); LOUPE_TEST_… makes them shorter
	@.venv/bin/python -m pytest --no-header -m soak $(ARGS) tests

clean: ## remove .venv, builds and caches; data stays
	@rm -rf .venv .venv-peers build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find $(PACKAGES) tests deploy -name __pycache__ -type d -prune -exec rm -rf {} +
