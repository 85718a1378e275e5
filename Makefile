# Everything that is done with this checkout. `make help` lists it.

PYTHON ?= python3
PORT ?= 8501
MODEL ?= smollm2
AXE := 4.14.1
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
SITE := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.DEFAULT_GOAL := help
.PHONY: help app test check oracle format docs figures bench demo-model clean

help: ## list what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

app: .venv/installed ## open the page (PORT=8501; MODEL=demo fetches no model)
	$(BIN)/patchwright app --port $(PORT) --model $(MODEL)

test: .venv/tested .axe/installed ## run all tests
	$(BIN)/python -m pytest -n auto --dist worksteal

check: .venv/checked .venv/tested .venv/documented .axe/installed ## lint, format, types, floors, help, site, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/python docs/write_cli.py --check
	$(BIN)/python docs/write_methods.py --check
	$(BIN)/python docs/write_known_answers.py --check
	$(SITE)
	$(BIN)/python -m pytest -n auto --dist worksteal

# A file's tests go to one process, so that a model is loaded and swept once.
oracle: .venv/oracled ## compare with TransformerLens, meet GPT-2's vocabulary and SmolLM2; fetches all three
	PATCHWRIGHT_REQUIRE_ORACLE=1 $(BIN)/python -m pytest -n auto --dist loadfile tests/oracle

format: .venv/checked ## fix what the linter and the formatter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/documented ## build the documentation site into build/site; warnings are errors
	$(SITE)
	@echo "Open build/site/index.html, or to search in it: $(BIN)/python -m http.server -d build/site"

figures: .venv/tested ## write docs/cli.md, draw the figures of docs/methods and the pictures of the page
	$(BIN)/python docs/write_cli.py
	$(BIN)/python docs/write_methods.py
	$(BIN)/python docs/write_known_answers.py
	$(BIN)/python docs/draw_figures.py
	$(BIN)/python docs/draw_pages.py

bench: .venv/benched ## time sweeps against hooks, TransformerLens, nnsight; methods; the page (BENCH: options)
	$(BIN)/python bench/report.py $(BENCH) --json bench/report.json --markdown docs/benchmarks.md
	$(BIN)/python bench/methods.py --markdown docs/benchmarks-methods.md
	$(BIN)/python bench/page.py --json bench/page.json --markdown docs/benchmarks.md

demo-model: .venv/tested ## train the demo model again (fixed seeds; 20 to 60 minutes)
	$(BIN)/python -m recipes.demo_model.train

clean: ## remove .venv and what the tools leave behind
	rm -rf .venv .axe .pytest_cache .hypothesis .ruff_cache .import_linter_cache build dist

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Patchwright needs Python 3.11 or newer, and $(PYTHON) is `$(PYTHON) --version 2>&1`."; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Making .venv"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# One stamp a set of packages: nothing is installed twice until what names them changes.
.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing Patchwright into .venv (a few minutes the first time: PyTorch is large)"
	@$(PIP) torch
	@$(PIP) -e .
	@touch $@

.venv/tested: .venv/installed
	@echo "Installing the test tools"
	@$(PIP) -e '.[test]'
	@touch $@

.venv/checked: .venv/installed
	@echo "Installing the linters"
	@$(PIP) -e '.[dev]'
	@touch $@

.venv/documented: .venv/installed
	@echo "Installing MkDocs"
	@$(PIP) -e '.[docs]'
	@touch $@

.venv/oracled: .venv/tested
	@echo "Installing TransformerLens and GPT-2's vocabulary"
	@$(PIP) -e '.[oracle]'
	@touch $@

.venv/benched: .venv/oracled
	@echo "Installing nnsight"
	@$(PIP) nnsight
	@touch $@

# The accessibility test's rules; without npm that test is skipped, unless a browser is required.
.axe/installed: Makefile
	@mkdir -p .axe
	@if command -v npm >/dev/null; then \
	  echo "Installing axe-core $(AXE)"; \
	  npm install --silent --no-save --no-package-lock --prefix .axe axe-core@$(AXE); \
	else echo "No npm here: the accessibility test is skipped"; fi
	@touch $@
