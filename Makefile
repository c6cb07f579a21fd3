# One line a target; CI calls these too.
PYTHON ?= python3
PROCESSES ?= 2
VENV := .venv
BIN := $(VENV)/bin
COMPILE := $(BIN)/uv pip compile -q -U --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11
DEBIAN_UP := bubblewrap libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core
DEBIAN_SLURM := slurm-wlm slurmrestd slurm-wlm-jwt-plugin slurmdbd munge mariadb-server
DEBIAN_TEST := $(DEBIAN_UP) chromium podman runc strace postgresql-15 $(DEBIAN_SLURM)

.PHONY: up test test-fast test-debian test-long lint format bench chaos screenshots deps deps-up lock lock-environments clean help

help: ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

up: $(VENV)/up.stamp deps-up ## start FastGPU on this machine
	@exec $(BIN)/python manage.py up

test: $(VENV)/dev.stamp deps ## run the whole suite; PROCESSES=4 shares it out among more
	@$(BIN)/pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

test-fast: $(VENV)/dev.stamp ## the suite without whole stacks and browsers
	@$(BIN)/pytest -q -m "not stack and not browser and not slurm and not oci and not debian and not mutants"

test-debian: $(VENV)/dev.stamp deps ## everything about data, on Debian's PostgreSQL 15
	@TEST_POSTGRES=debian $(BIN)/pytest -q -m "not stack and not browser and not slurm and not oci and not debian and not mutants and not sandbox"

test-long: $(VENV)/dev.stamp ## the state machine of money for 20,000 steps; MACHINE_SEED=7
	@MACHINE_STEPS=20000 $(BIN)/pytest -q -s tests/billing/test_machine.py

lint: $(VENV)/dev.stamp ## ruff, mypy, import-linter
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy . && PYTHONPATH=.:sdk/src $(BIN)/lint-imports

format: $(VENV)/dev.stamp ## put the code into shape
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(VENV)/dev.stamp deps ## measure, side by side
	@$(BIN)/python -m tests.bench

chaos: $(VENV)/dev.stamp deps ## the long storm of kills; CHAOS_FLAGS="--launches 3000 --seed 7"
	@$(BIN)/python -m tests.chaos $(CHAOS_FLAGS)

screenshots: $(VENV)/dev.stamp deps ## every page, both themes, both widths
	@$(BIN)/python -m tests.browser.screenshots

deps: ## Debian packages the tests need (as root)
	@$(PYTHON) portal/stack/debian.py $(DEBIAN_TEST)

deps-up: ## Debian packages `make up` needs (as root)
	@$(PYTHON) portal/stack/debian.py $(DEBIAN_UP)

lock: $(VENV)/dev.stamp ## compile the locked requirements again
	@$(COMPILE) pyproject.toml -o requirements/base.txt
	@$(COMPILE) pyproject.toml --group dev -c requirements/base.txt -o requirements/dev.txt
	@$(MAKE) --no-print-directory lock-environments

lock-environments: $(VENV)/dev.stamp ## compile those of the prepared environments; UV_FIND_LINKS says where a CPU build of torch is
	@cd clusters/environments && for name in python-data pytorch tensorflow tensorflow.cpu; do $(CURDIR)/$(COMPILE) $$name.in -o $$name.txt || exit; done
	@cd clusters/environments && $(CURDIR)/$(COMPILE) --no-emit-package torch pytorch.cpu.in -o pytorch.cpu.txt

clean: ## remove the virtual environment and caches; data in var/ stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("FastGPU needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/up.stamp: requirements/base.txt | $(VENV)/bin/python
	@echo "installing the locked dependencies into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/base.txt
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt requirements/base.txt | $(VENV)/bin/python
	@echo "installing the locked dependencies for development into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@ $(VENV)/up.stamp
