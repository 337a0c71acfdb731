# Holdfast's one entry, for people and for CI.
#
# `make paper` and `make test` work as the first command on a machine that has Python 3.11 or newer, make and a
# package index. Set-up leaves stamps inside .venv; a stamp is older than the file that it depends on, or it is
# not: the second start compares a handful of times, needs no network and costs a few milliseconds.

VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
UV      ?= uv
PYTHON  ?=
# Many tests wait for processes: one worker more than the cores of CI's machine.
WORKERS ?= 3
ARGS    ?=

# The checks start hundreds of processes: what they import is compiled once, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

CREATED := $(VENV)/.stamp-created
RUNTIME := $(VENV)/.stamp-runtime
DEV     := $(VENV)/.stamp-dev
PROJECT := $(VENV)/.stamp-project

# An environment names its own place and its interpreter. Where either has changed (a moved checkout, a removed
# Python, an interrupted set-up) it is made anew: forgetting the stamps is enough to bring that about.
$(shell [ -x $(BIN)/python ] && [ "$$(cat $(CREATED) 2>/dev/null)" = "$(CURDIR)" ] || rm -f $(VENV)/.stamp-*)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help paper test lint types imports pytest bench format docs-check nightly setup setup-dev requirements clean

help: ## List what can be asked for
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

##### Run

paper: setup ## Trade: the bundled sample on the built-in venue, or Alpaca paper where keys are set (ARGS="...")
	@$(BIN)/holdfast paper $(ARGS)

bench: setup ## Measure: ns a bar and us an order, beside a hand-written loop
	@$(BIN)/python -m benchmarks.run $(ARGS)

##### Check

test: lint imports types pytest ## Everything that must pass: lint, import contracts, types, tests

lint: setup-dev ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

imports: setup-dev ## import-linter: no floor imports a higher one, the kernel imports no I/O
	$(BIN)/lint-imports

types: setup-dev ## mypy, strict
	$(BIN)/mypy

pytest: setup-dev ## The tests alone (ARGS="tests/web -x")
	$(BIN)/pytest -n $(WORKERS) $(ARGS)

nightly: setup-dev ## What takes too long for every change: 200 kills each of the bot, of both, of the venue and of PostgreSQL (ARGS="--seed 7")
	$(BIN)/python -m holdfast.testing.kills --kills 200 $(ARGS)

docs-check: setup-dev ## The house rules and the documents: links, snippets, generated pages
	$(BIN)/pytest tests/test_house.py tests/docs $(ARGS)

format: setup-dev ## Let ruff format, and fix what it can
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

##### Set up

setup: $(PROJECT) ## What trading needs, in .venv
setup-dev: $(PROJECT) $(DEV) ## The same, with the tools of development

$(CREATED):
	@python=$$(scripts/find-python $(PYTHON)) && \
	echo "Creating $(VENV) with $$("$$python" --version) ..." && \
	"$$python" -m venv --clear $(VENV)
	@echo "$(CURDIR)" > $@

$(RUNTIME): $(CREATED) requirements/runtime.txt requirements/build.txt
	@echo "Installing what Holdfast runs on (pinned and hashed; the first time takes about a minute) ..."
	@$(PIP) install --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	@touch $@

# The project itself is linked, not copied: no build isolation, so that nothing unpinned is fetched.
$(PROJECT): $(RUNTIME) pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): $(RUNTIME) requirements/dev.txt
	@echo "Installing the tools of development ..."
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

requirements: ## Compile requirements/*.txt anew from pyproject.toml (needs uv; ARGS="--upgrade")
	@command -v $(UV) >/dev/null || { echo "This needs uv (any recent version): put it on the PATH or name it with UV=..." >&2; exit 1; }
	$(call compile,requirements/build.in) --output-file requirements/build.txt $(ARGS)
	$(call compile,pyproject.toml) --constraint requirements/build.txt --output-file requirements/runtime.txt $(ARGS)
	$(call compile,pyproject.toml) --extra dev --constraint requirements/build.txt --constraint requirements/runtime.txt \
		--output-file requirements/dev.txt $(ARGS)

# One resolution for every platform, every file pinned by hash, and no address of any index or download.
compile = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header $(1)

clean: ## Remove the environment and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find src tests benchmarks examples -type d -name __pycache__ -prune -exec rm -rf {} +
