# Isthmus. A newcomer needs two of these: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help demo test coverage weights chromium lint bench bench-peers crash schema docs lock clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo
	@echo "After one of them, \`source $(VENV)/bin/activate\` puts the command \`isthmus\` on your path; $(BIN)/isthmus works without."

# One virtual environment, two depths: what the product needs, and what its makers need on top. A stamp names the
# lock file that it was made from, so that a changed lock installs again and nothing else does.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Isthmus needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing (locked, with hashes) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/runtime.txt
	@echo "$(CURDIR)/src" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/isthmus.pth"
	@printf '#!%s\nimport sys\nfrom isthmus.cli import main\nsys.exit(main())\n' "$(CURDIR)/$(BIN)/python" > $(BIN)/isthmus && chmod +x $(BIN)/isthmus
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	@touch $@

demo: $(VENV)/.runtime ## the whole road on this machine: connect, read, change, deliver, export (KEEP=1: the console stays)
	@$(BIN)/isthmus demo $(if $(KEEP),--serve,)

# A file stays in one process (it shares a server and a database); tests/running_order.py puts the longest first. One
# process more than two processors need: tests also wait, for processes that start and vendors that take their time.
# Bytecode is kept: tests start the command line dozens of times.
JOBS ?= 3
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

test: $(VENV)/.dev chromium ## all tests
	@$(PYTEST)

coverage: $(VENV)/.dev chromium ## all tests, slower, with the lines and branches that none of them reached
	@$(PYTEST) --cov --cov-report=term:skip-covered

weights: $(VENV)/.dev chromium ## all tests, and a new record of what each file takes (their order)
	@$(PYTEST) --record-weights

# The browser tests drive Debian's own Chromium. Where it is missing and cannot be installed they are skipped, loudly.
chromium:
	@command -v chromium >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing Chromium for the browser tests …" \
	  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	} || echo "NO CHROMIUM HERE, and it cannot be installed: the browser tests will be SKIPPED." >&2

lint: $(VENV)/.dev ## style, types, and the direction of every arrow
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pip check --quiet --disable-pip-version-check

bench: $(VENV)/.dev ## measured ratios on this machine, printed and kept in benchmarks/results
	@$(BIN)/python -m benchmarks

bench-peers: $(VENV)/.dev ## the same load through dlt, singer-sdk and airbyte-cdk, each in an environment of its own
	@$(BIN)/python -m benchmarks --peers

crash: $(VENV)/.dev ## kill the worker at random, many times, and 200 times between sending a write and its answer (KILLS)
	@ISTHMUS_CRASH_ROUNDS=$${ROUNDS:-50} ISTHMUS_CRASH_KILLS=$${KILLS:-200} $(BIN)/python -m pytest tests/crash -n 0 -rP

schema: $(VENV)/.dev ## 10,000 requests made up from the API's description, against a server with one of everything
	@ISTHMUS_SCHEMA_CASES=$${CASES:-10000} $(BIN)/python -m pytest tests/api/test_description.py -n 0

docs: $(VENV)/.dev ## write the generated reference pages again
	@$(BIN)/python -m tests.generate_docs

lock: ## resolve the dependencies again
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements/runtime.txt
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml --extra otel -o requirements/otel.txt
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml --extra dev --extra otel -o requirements/dev.txt

clean: ## remove what was built; data folders stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .coverage*
