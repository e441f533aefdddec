# The commands of this repository. `make help` lists them; the first one that you run sets up .venv.

VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps
# A docker CLI that the set-up had to bring along is in $(BIN): the machine's own comes first.
export PATH := $(PATH):$(CURDIR)/$(BIN)
# What a container's image may have set: to compile everything anew in each process takes tests half as long again.
unexport PYTHONDONTWRITEBYTECODE

# make test ARGS="tests/unit/config -k size"     JOBS=4
# make test-runtimes RUNTIMES="crun runc"
# make test-vm ARGS="tests/engine -k limits"     VM="--layout hybrid"
ARGS ?=
VM ?=
# Tests wait, too, for processes and for time to pass: one more than there are processors keeps all of these busy.
JOBS ?= $(shell echo $$(($$(nproc) + 1)))
RUNTIMES ?= native crun runc lxc

.PHONY: help setup demo test test-runtimes faults database debian test-vm check bench docs format clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(STAMPS)/venv $(STAMPS)/system ## .venv and the system packages that the engine needs

demo: setup ## the first container, through all of it, in a scratch root (needs root)
	@sh examples/demo.sh $(BIN)/sampan

test: check $(STAMPS)/tests ## everything: checks, then all tests (those of the kernel's work need root)
	$(BIN)/pytest -n $(JOBS) --dist loadfile $(ARGS)

test-vm: setup ## the tests of the kernel's work on Linux 6.1 with cgroup v2, in a virtual machine (slow)
	$(BIN)/python tests/vm --cache $(STAMPS)/vm $(VM) -- $(ARGS)

faults: setup $(STAMPS)/tests ## kill every process of an engine after every act of each operation (root; half an hour)
	SAMPAN_FAULTS=all $(BIN)/pytest tests/faults/test_any_line.py $(ARGS)

database: setup $(STAMPS)/tests ## PostgreSQL under load: the daemon killed, memory short, its files copied out (root; minutes)
	$(BIN)/python tests/database --cache $(STAMPS)/database $(ARGS)

debian: setup $(STAMPS)/tests ## an image of debootstrap's travels through a registry and back (root; a minute, more at first)
	SAMPAN_DEBIAN=$(STAMPS)/debian $(BIN)/pytest tests/engine/test_journey.py $(ARGS)

test-runtimes: setup $(STAMPS)/tests ## the engine's own tests under each of RUNTIMES (root; an hour)
	for runtime in $(RUNTIMES); do \
	  $(BIN)/pytest -n $(JOBS) --dist loadfile --runtime $$runtime tests/engine tests/clients tests/faults $(ARGS) || exit 1; \
	done

check: $(STAMPS)/venv ## style, types, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: setup $(STAMPS)/tests ## how fast, side by side with the other engines of this machine (needs root)
	$(BIN)/python tests/bench $(ARGS)

docs: $(STAMPS)/venv ## docs/reference, from the docstrings of the contracts
	$(BIN)/python tools/reference.py

format: $(STAMPS)/venv ## put the code in its usual form
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format --quiet

clean: ## remove what make made
	rm -rf $(VENV) $(STAMPS) dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find core plugins tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMPS)/venv: pyproject.toml tools/setup.sh
	@sh tools/setup.sh venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/system: tools/setup.sh
	@sh tools/setup.sh system
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/tests: tools/setup.sh $(STAMPS)/venv
	@sh tools/setup.sh tests $(VENV)
	@mkdir -p $(STAMPS) && touch $@
