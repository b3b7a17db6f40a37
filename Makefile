# Bastide. `make demo` and `make test` work from a clean clone on Debian 12 as root; they install what is missing.
.PHONY: help docs demo demo-embedded test windows check bench simulate chaos install lint types imports bytecode unit
.DEFAULT_GOAL := help

PYTHON ?= python3
RUN := .venv/bin/python
# Tests on labs (tests/support/lanes.py) wait more than they work, so there are more workers than processors. With a worker for each of the seven lanes
# the machine was so busy that what has to arrive within a minute did not.
MORE := 4
# Where it is set, each of the tests' hundreds of processes would compile all of Bastide again.
unexport PYTHONDONTWRITEBYTECODE

help: ## What there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## Both jobs across two real Samba forests, as a time-line (root)
	@[ "$$(id -u)" = 0 ] || { echo "the demo makes network namespaces and needs root: sudo make demo; or without: make demo-embedded" >&2; exit 2; }
	@$(PYTHON) tools/install.py --lab
	@$(RUN) -m tools.demo

demo-embedded: ## The same in memory: no root, no network
	@$(PYTHON) tools/install.py --python-only
	@$(RUN) -m bastide.cli.main demo

test: ## Everything that CI runs (root)
	@$(PYTHON) tools/install.py --lab --windows
	@$(MAKE) --no-print-directory -j2 lint types imports bytecode
	@$(RUN) -m pytest -q -n $$(($$(nproc) + $(MORE))) --dist loadgroup tests

windows: ## Build the password filter for Windows, and run it under wine (root; fetches 157 MB)
	@$(PYTHON) tools/install.py --windows
	@$(RUN) -m pytest -q tests/integration/test_windows_filter.py tests/unit/test_windows_frames.py tests/unit/test_windows_capture.py tests/unit/test_windows_pipe.py tests/contract/test_agent_sources.py

check: ## Lint, types, imports, unit tests: minutes, without the lab
	@$(PYTHON) tools/install.py
	@$(MAKE) --no-print-directory lint types imports unit

bench: ## Ratios against bare libraries, on the lab (root)
	@$(PYTHON) tools/install.py --lab
	@$(RUN) -m benchmarks.run

chaos: ## Faults under load on the lab, one after the other; writes docs/operations/faults.md (root; half an hour)
	@$(PYTHON) tools/install.py --lab
	@$(RUN) -m pytest -q -s tests/chaos/campaign.py

simulate: ## A thousand seeds of fifty nodes on which everything breaks; writes docs/operations/simulation.md
	@$(PYTHON) tools/install.py --python-only
	@$(RUN) -m tests.simulation.run --write

docs: ## Write docs/reference/commands.md and password-events.md anew, out of the code
	@$(RUN) tools/commands_page.py
	@$(RUN) tools/events_page.py

install: ## Only install
	@$(PYTHON) tools/install.py --lab

lint:
	@$(RUN) -m ruff check -q .
	@$(RUN) -m ruff format -q --check .

types:
	@$(RUN) -m mypy --no-error-summary

imports:
	@.venv/bin/lint-imports > .build/imports.log || { cat .build/imports.log; exit 1; }

bytecode: # once, instead of by every worker at the same time
	@$(RUN) -m pytest -q --collect-only tests > .build/bytecode.log || { cat .build/bytecode.log; exit 1; }

unit:
	@$(RUN) -m pytest -q -n 2 tests/unit
