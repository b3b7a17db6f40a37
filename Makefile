# Bastide. `make demo` and `make test` work from a clean clone on Debian 12 as root; they install what is missing.
.PHONY: help demo demo-embedded test check bench install lint types imports unit
.DEFAULT_GOAL := help

PYTHON ?= python3
RUN := .venv/bin/python

help: ## What there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## The main job across two real Samba forests, as a time-line (root)
	@$(PYTHON) tools/install.py --lab
	@$(RUN) tools/demo.py

demo-embedded: ## The same job in memory: no root, no network
	@$(PYTHON) tools/install.py --python-only
	@$(RUN) -m bastide.cli.main demo

test: ## Everything that CI runs (root)
	@$(PYTHON) tools/install.py --lab
	@$(MAKE) --no-print-directory lint types imports
	@$(RUN) -m pytest -q -n 2 -m "not lab" tests
	@$(RUN) -m pytest -q -m lab tests

check: ## Lint, types, imports, unit tests: seconds
	@$(PYTHON) tools/install.py
	@$(MAKE) --no-print-directory lint types imports unit

bench: ## Ratios against bare libraries, on the lab (root)
	@$(PYTHON) tools/install.py --lab
	@$(RUN) -m benchmarks.run

install: ## Only install
	@$(PYTHON) tools/install.py --lab

lint:
	@$(RUN) -m ruff check -q .
	@$(RUN) -m ruff format -q --check .

types:
	@$(RUN) -m mypy --no-error-summary

imports:
	@.venv/bin/lint-imports > .build/imports.log || { cat .build/imports.log; exit 1; }

unit:
	@$(RUN) -m pytest -q -n 2 tests/unit
