# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH := $(VENV)/.bench-installed

.PHONY: help install demo test check lint types imports simulate prove bench bench-quick clean

help:
	@echo "make demo    a broker, two people and a bot talk, the broker is killed, nothing is lost"
	@echo "make test    all tests"
	@echo "make check   lint, types, import rules and all tests"
	@echo "make simulate SEED=n   one simulated run of faults, with its whole trace if it fails"
	@echo "make prove MINUTES=n   every promise put to the test; writes docs/reliability.md (Linux, root)"
	@echo "make bench   measured beside Redis, NATS and others; writes docs/performance.md (Linux, ten minutes)"
	@echo "make bench-quick   the same roughly, in under a minute; writes nothing"
	@echo "make clean   remove what these have made"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(BENCH): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/python examples/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest

check: lint types imports test

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

simulate: $(STAMP)
	SEED=$(SEED) $(BIN)/python -m pytest tests/simulation -k every_promise

prove: $(STAMP)
	$(BIN)/python -m tests.proof $(or $(MINUTES),60) --seed $(or $(SEED),1) $(if $(ONLY),--only $(ONLY))

bench: $(BENCH)
	$(BIN)/python -m bench --write

bench-quick: $(BENCH)
	$(BIN)/python -m bench --quick

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
