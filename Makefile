# What people and CI type. Every target does its own set-up; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup lock check format test coverage demo bench stress clean

help: ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 16

setup: ## Make .venv with the locked dependencies (instant when nothing changed)
	@scripts/setup.sh

lock: ## Write requirements/lock.txt anew from pyproject.toml
	@scripts/lock.sh

check: setup ## Format, lint, mypy --strict and import rules
	@scripts/check.sh

format: setup ## Format the code in place
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

test: setup ## Start the brokers and environments the tests need, run the tests, stop what was started
	@.venv/bin/python -m scripts.run_tests $(ARGS)

coverage: setup ## Protocol and machine must be covered to the last branch by their own tests
	@COVERAGE_FILE=.local/coverage .venv/bin/coverage run -m pytest tests/protocol tests/machine
	@COVERAGE_FILE=.local/coverage .venv/bin/coverage report

demo: setup ## Workflows that survive SIGKILL of their worker and their server, in under a minute
	@.venv/bin/resonate-mq demo $(ARGS)

bench: setup ## Measure and print a table
	@.venv/bin/python -m benchmarks $(ARGS)

stress: setup ## The long-running tests only
	@.venv/bin/python -m scripts.run_tests -m stress $(ARGS)

clean: ## Remove .venv, .local (brokers' data, interop environments) and caches
	rm -rf .venv .local build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
