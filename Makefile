# `make demo` and `make test` need only Python 3.11 or later, make and git; everything else they install themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEARCHED := sim/gpt-4o,sim/claude-3.5-sonnet,sim/qwen2-72b-instruct,sim/llama-3.1-70b-instruct
REAL_MODEL := openai-api/llama/SmolLM2-135M-Instruct
RECORDED := tests/recordings
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test check gate compat bench docs clean

ifdef REAL
# the same comparison, smaller, with a small real model on this machine
demo: $(VENV)/core
	sh tests/ensure_llama.sh $(BIN)/python
	$(BIN)/python examples/llama_server.py -- $(BIN)/archon demo --small --models $(REAL_MODEL) --log-dir logs/demo-real
else
demo: $(VENV)/core
	$(BIN)/archon demo $(if $(MODELS),--models $(MODELS))
	$(if $(MODELS),,$(BIN)/archon search --task archon_eval/math -T sample=true --models $(SEARCHED) --space small \
	  --trials 12 --finalists 4 --workers 2 -o logs/demo-search)
endif

test: $(VENV)/dev
	CI=$(CI) sh tests/ensure_docker.sh || test $$? -eq 3
	sh tests/ensure_chromium.sh || test $$? -eq 3
	sh tests/ensure_postgres.sh || test $$? -eq 3
	sh tests/ensure_llama.sh $(BIN)/python || test $$? -eq 3
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# this project's own gate: a replay of what the simulated pool said, so no key and no network; exit code 1 or 2 fails it
gate: $(VENV)/core
	$(BIN)/archon gate --name "the recorded simulated pool" --baseline $(RECORDED)/baseline.json \
	  --task archon_eval/math -T sample=true -T n=40 -S architecture=$(RECORDED)/small.yaml \
	  -S store=$(RECORDED)/calls.db -S store_policy=replay --log-dir logs/gate --junit logs/gate/junit.xml

# the tests of the doors with the oldest and the newest Inspect and lm-eval that pyproject.toml allows, and what has moved
compat: $(VENV)/bin/python
	$(BIN)/python tests/compat.py $(ARGS)

docs: $(VENV)/dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/dev
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name yours with: make PYTHON=python3.12 demo"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/core: $(VENV)/bin/python pyproject.toml
	$(PIP) install -e '.[search]'
	touch $@

$(VENV)/dev: $(VENV)/bin/python pyproject.toml
	$(PIP) install -e '.[dev]'
	touch $@ $(VENV)/core

clean:
	rm -rf $(VENV) .venv-compat logs .mypy_cache .pytest_cache .ruff_cache .hypothesis
