# Two commands do all: `make figures` and `make test`. Both set up .venv first, once.

PYTHON ?= python3
CORES ?= all
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Bytecode is kept, whatever the caller's environment says: each process of tests would rewrite the assertions of all
# test files again, and each job compile what it imports of the package.
unexport PYTHONDONTWRITEBYTECODE

SNAKEMAKE := snakemake --cores $(CORES)
TINY := --configfile workflow/studies/tiny.yaml
SNAKEFILES := Snakefile workflow/Snakefile workflow/rules
PYTHON_CODE := setup.py hessgeo workflow/scripts benchmarks docs/conf.py docs/keep.py docs/extensions examples tests
# Each process runs a test at a time; the workflow's own tests start jobs beside them.
# A process has tests that stand together, so that what they share is built in one of them; one that has none left takes
# some of another's.
# There is a process more than cores, up to four: a run of the workflow waits now and then.
PROCESSES = $(shell $(PYTHON) -c 'import os; print(min(os.cpu_count() + 1, 4))')
PYTEST = python -m pytest --numprocesses $(PROCESSES) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help figures explore report table1 table2 compare paper plan test unit fuzz shapes lint fmt tiny generative verify soak bench docs gallery clean

help: ## list the targets
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

# What an installation that was interrupted left behind looks installed to pip, and is not: it is begun anew. One that
# failed by itself, for want of a network say, was undone by pip.
INSTALL = python -m pip install --quiet --constraint constraints.txt --editable
FAILED = { rm $(VENV)/.installing; exit 1; }
# Never there, so that what needs it is always made.
.PHONY: interrupted
$(VENV)/.installed: constraints.txt pyproject.toml $(if $(wildcard $(VENV)/.installing),interrupted)
	test ! -e $(VENV)/.installing || $(PYTHON) -m venv --clear $(VENV)
	mkdir -p $(VENV)
	touch $(VENV)/.installing
	test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[dev]' || $(FAILED)
	rm $(VENV)/.installing
	touch $@

figures: $(VENV)/.installed ## build every study of config.yaml, then results/report.html
	$(SNAKEMAKE)
	snakemake --report results/report.html
	@echo "Open results/report.html in a browser; make explore writes a page to walk in for each study."

explore: $(VENV)/.installed ## build what the explorer shows, and its page of every study, results/STUDY/explore.html
	$(SNAKEMAKE) explore
	@echo "Open in a browser:" results/*/explore.html

report: $(VENV)/.installed ## write results/report.html again from what is built
	snakemake --report results/report.html

table2: $(VENV)/.installed ## build Table 2 of every study, its paths and their figures
	$(SNAKEMAKE) table2

plan: $(VENV)/.installed ## say what the studies take (of CONFIG=mine.yaml too), before any job
	$(SNAKEMAKE) plan $(if $(CONFIG),--configfile $(CONFIG)) $(ARGS)

test: $(VENV)/.installed ## run all tests
	$(PYTEST)

unit: $(VENV)/.installed ## run the tests that train nothing and run no workflow
	$(PYTEST) -m 'not slow'

fuzz: $(VENV)/.installed ## try 2,000 broken configurations and 750 damaged files, each time others
	HESSGEO_FUZZ=full python -m pytest -n 0 tests/unit/test_fuzzed_configs.py tests/unit/test_fuzzed_files.py

# Those whose callers keep to all annotations as yet.
CHECKED := $(patsubst %,tests/unit/test_%.py,grids metrics posteriors resolution segment lipschitz u2net path_scores)
shapes: $(VENV)/.installed ## run tests with every annotation checked as they run, shapes included
	$(PYTEST) -m 'not slow' --jaxtyping-packages=hessgeo,typechecker.check $(CHECKED)

lint: $(VENV)/.installed ## check style, types and the workflow
	ruff check $(PYTHON_CODE)
	ruff format --check $(PYTHON_CODE)
	snakefmt --check $(SNAKEFILES)
	snakemake --lint
	mypy

fmt: $(VENV)/.installed ## format all code
	ruff check --fix $(PYTHON_CODE)
	ruff format $(PYTHON_CODE)
	snakefmt $(SNAKEFILES)

tiny: $(VENV)/.installed ## build the tiny study, from training to figures
	$(SNAKEMAKE) $(TINY)

table1: $(VENV)/.installed ## build Table 1, the Fisher metrics and all figures of solvable systems (50 min)
	$(SNAKEMAKE) table1

compare: $(VENV)/.installed ## measure what differs between the studies of every comparison (CONFIG=workflow/studies/steps.yaml)
	$(SNAKEMAKE) compare $(if $(CONFIG),--configfile $(CONFIG))

paper: $(VENV)/.installed ## build every figure and table of the papers by number, and results/paper/index.html
	$(SNAKEMAKE) paper --configfile $(or $(CONFIG),workflow/studies/paper.yaml)

generative: $(VENV)/.installed ## build the geodesics of densities (Kim et al. 2024)
	$(SNAKEMAKE) generative_geodesics $(if $(CONFIG),--configfile $(CONFIG))

verify: $(VENV)/.installed ## compare everything under results with what vouches for it (of CONFIG=mine.yaml too)
	$(SNAKEMAKE) verify $(if $(CONFIG),--configfile $(CONFIG))

soak: $(VENV)/.installed ## kill runs 200 times and damage 1,000 results, at random (hours; goes on where it stopped)
	python tests/soak.py $(ARGS)

bench: $(VENV)/.installed ## run the performance comparisons
	set -e; for benchmark in benchmarks/*.py; do python $$benchmark; done

$(VENV)/.docs: $(VENV)/.installed
	touch $(VENV)/.installing
	$(INSTALL) '.[docs]' || $(FAILED)
	rm $(VENV)/.installing
	touch $@

docs: $(VENV)/.docs ## build the pages into docs/_build/index.html; a warning is an error
	python -m sphinx --quiet --fail-on-warning --keep-going docs docs/_build

# Some read the finished default study, and faces two packages of the extra gallery.
gallery: $(VENV)/.installed ## run the examples again, whose results the pages keep (after `make figures`)
	python examples/gallery.py
	python docs/keep.py $(patsubst examples/%.py,%,$(filter-out examples/gallery.py,$(wildcard examples/*.py)))

clean: ## remove all results, but neither .venv nor the README
	find results -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
	rm -rf .snakemake
