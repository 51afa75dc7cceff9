# `make` or `make help` lists what there is. Every target makes .venv first if there is none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# One thread per process: the tests run side by side, and sums keep their order.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-services check zoo report bench gpu-check tables clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(STAMP) ## make .venv and install the package into it, editable, with the tools

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(STAMP) ## run INT on eight drawn scenes with the shipped models; results/demo.html, results/demo.png
	$(BIN)/int-bench run keep=trace refill=true --out results/demo
	$(BIN)/int-bench report $$(ls -td results/demo/camoworld/int/*/ | head -n 1) --out results/demo.html
	$(BIN)/int-bench picture $$(ls -td results/demo/camoworld/int/*/ | head -n 1) -n 8 --out results/demo.png

test: $(STAMP) ## run the tests
	$(BIN)/python -m pytest --quiet --numprocesses=auto --maxprocesses=4 --dist=loadfile

test-services: $(STAMP) ## the long tests: kills, soak, memory of large pictures, walks, examples (minutes)
	$(BIN)/python -m pytest --quiet -m services

check: $(STAMP) ## format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

zoo: $(STAMP) ## train the shipped models again, two at a time (hours); zoo-sam, zoo-clip, ... train one
	$(BIN)/python -m int_bench.zoo.training.pool
	$(MAKE) --jobs=2 zoo-llava zoo-clip zoo-grounding_dino zoo-stable_diffusion

zoo-sam-granular: zoo-sam_granular ;

# SAM starts from the tower that CLIP begins with.
zoo-clip: zoo-sam
zoo-%: $(STAMP)
	$(BIN)/python -m int_bench.zoo.training $*

report: $(STAMP) ## measure the shipped models on the test split and update their card
	$(BIN)/python -m int_bench.zoo.report

bench: $(STAMP) ## CPU benchmarks with their bars (minutes); gpu-check is for a GPU
	@missed=0; for name in engine scoring metrics threads; do \
	    $(BIN)/python -m scripts.bench.$$name || missed=1; \
	done; exit $$missed

gpu-check: $(STAMP) ## on a machine with a GPU: what works and how fast, JSON after every step (9 minutes)
	$(BIN)/python -m scripts.gpu_check --out results/gpu_check

tables: $(STAMP) ## all methods and ablations on the drawn world, results/tables, and the bars of the card (two hours)
	$(BIN)/python -m scripts.experiments.field
	$(BIN)/python -m int_bench.zoo.report --only int

clean: ## remove caches and build products; .venv and results stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find int_bench scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
