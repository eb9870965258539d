# All targets run on a bare Debian machine with Python 3.11 or later, venv and make; where one needs more,
# its help says so.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made
DEMO := .venv-demo
TOOLS := .venv-tools

.DEFAULT_GOAL := help
.PHONY: help env demo test test-all lint format types layers check wheel man lock kill failpoints crash-states state-machine sockets floods parsers books oddities mutation mutation-slice real soak bench bench-reading bench-growth bench-latency fuzz sbom audit test-container test-systemd clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(STAMP) ## make the environment in .venv, from the lock file

$(STAMP): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

$(DEMO)/.made: requirements-runtime.lock
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-runtime.lock
	@touch $@

demo: $(DEMO)/.made ## show the whole system on an archive of its own, in a small environment of its own
	@$(DEMO)/bin/python -m mirror demo

test: $(STAMP) ## run the tests, in two processes
	$(BIN)/python -m pytest --numprocesses 2

test-all: ## run the tests on Python 3.11, 3.12 and 3.13, where they are installed
	@for version in 3.11 3.12 3.13; do \
	  python=$$(command -v python$$version || ls $(HOME)/.pyenv/versions/$$version.*/bin/python 2>/dev/null | tail -n 1); \
	  if [ -n "$$python" ] && "$$python" -c '' 2>/dev/null; then \
	    echo "== Python $$version"; $(MAKE) --no-print-directory test PYTHON="$$python" VENV=.venv-$$version || exit 1; \
	  else echo "== Python $$version is not installed"; fi; \
	done

lint: $(STAMP) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## correct style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## check types
	$(BIN)/mypy

layers: $(STAMP) ## check that imports between folders go one way
	$(BIN)/lint-imports

check: lint types layers ## all checks but the tests

wheel: $(STAMP) ## build wheel and source archive into dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .

$(DEMO)/.has-click-man: $(DEMO)/.made requirements.lock
	awk '/^[^ ]/ { is_it = /^click-man==/ } is_it' requirements.lock | \
	  $(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r /dev/stdin
	@touch $@

man: $(DEMO)/.has-click-man ## write a manual page for each command into dist/man/, in the demo's small environment
	$(DEMO)/bin/python -m tests.man dist/man

PIP_COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate --strip-extras

lock: $(STAMP) ## update the lock files to the newest versions, with hashes
	$(BIN)/python -m pip install --quiet pip-tools
	$(PIP_COMPILE) --upgrade --extra data --extra dev --output-file requirements.lock pyproject.toml
	printf 'cyclonedx-bom>=7\npip-audit>=2.9\n' | $(PIP_COMPILE) --upgrade --output-file requirements-tools.lock -
	$(PIP_COMPILE) --upgrade --extra data --constraint requirements.lock --output-file requirements-runtime.lock pyproject.toml

kill: $(STAMP) ## test SIGKILL at 50 moments of a sync
	$(BIN)/python -m pytest -m slow tests/system/test_kill.py

soak: $(STAMP) ## test 500 polls against an upstream that fails in every way
	$(BIN)/python -m pytest -m slow -s tests/system/test_soak.py

real: $(STAMP) ## test with the real index, snapshot after snapshot, and bodies of real size (needs MIRROR_REAL_DATA)
	$(BIN)/python -m pytest -m slow -s tests/system/test_replay.py

failpoints: $(STAMP) ## fail each call of the file system in a poll, a repair, a restore … (30 min; needs gcc)
	$(BIN)/python -m tests.reliability.failpoints --write

crash-states: $(STAMP) ## cut the power at 6,000 moments, whatever was not flushed (10 min; needs gcc)
	$(BIN)/python -m tests.reliability.crash_states --write

state-machine: $(STAMP) ## 10,000 steps of an upstream that lives and lies, and of an odd world (10 min; needs gcc)
	$(BIN)/python -m tests.reliability.machine --write

sockets: $(STAMP) ## every fault of a connection at every phase of an answer (5 min; needs gcc)
	$(BIN)/python -m tests.reliability.sockets --write

floods: $(STAMP) ## a thousand connections at once that mean harm, in 32 ways (15 min)
	$(BIN)/python -m tests.reliability.floods --write

parsers: $(STAMP) ## every parser of what others write, on 70,000 inputs; on any Python (3 min)
	$(BIN)/python -m tests.reliability.parsers --write

books: $(STAMP) ## spoil every file of ours in every way (30 min; needs gcc)
	$(BIN)/python -m tests.reliability.books --write

oddities: $(STAMP) ## try all odd files and environments, of which plain runs try a few (5 min)
	$(BIN)/python -m pytest -m 'slow or not slow' tests/system/test_odd_files.py tests/system/test_environment.py

mutation: $(STAMP) ## mutation-test archive, store and sync: at least 85 % of each killed (40 min)
	$(BIN)/python -m tests.mutants --write

mutation-slice: $(STAMP) ## mutation-test the judgement of bodies alone
	$(BIN)/python -m tests.mutants --only 'mirror.archive.judge*'

bench: $(STAMP) ## time the sync beside rclone, aria2, wget2 and curl; write README's table (needs nginx and these)
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	$(BIN)/python -m tests.benchmarks.run --write

test-container: $(STAMP) ## build the image and run it (needs root, podman, buildah, runc, debootstrap)
	$(BIN)/python -m pytest -m slow -rs tests/system/test_container.py

test-systemd: $(STAMP) wheel ## install on a booted systemd by the guide, and run there (needs the same)
	$(BIN)/python -m pytest -m slow -rs tests/system/test_systemd.py

bench-reading: $(STAMP) ## time reading the events beside pandas, polars and DuckDB
	$(BIN)/python -m tests.benchmarks.reading

bench-growth: $(STAMP) ## measure commands on copies of 300 to 10,000 days (needs nginx and Debian's faketime)
	$(BIN)/python -m tests.benchmarks.growth

bench-latency: $(STAMP) ## time a daemon's answers while it polls: 50 ms at the 99th percentile (needs nginx)
	$(BIN)/python -m tests.benchmarks.latency --check

fuzz: $(STAMP) ## fuzz every parser of what others write, a minute each (needs Python before 3.13)
	$(BIN)/python -m pip install --quiet --editable ".[fuzz]"
	for target in lines findings spec index page sums manifest upstream settings range accept dates; do \
	  $(BIN)/python -m tests.fuzz.run $$target -max_total_time=60 || exit 1; \
	done

sbom: $(TOOLS)/.made ## list what the wheel needs, from the lock file, as CycloneDX: dist/sbom.cdx.json
	mkdir -p dist
	$(TOOLS)/bin/cyclonedx-py requirements requirements-runtime.lock --pyproject pyproject.toml \
	  --output-reproducible --output-format JSON --output-file dist/sbom.cdx.json
	@test "$$(grep -c '"purl"' dist/sbom.cdx.json)" = "$$(grep -c '==' requirements-runtime.lock)"

audit: $(TOOLS)/.made ## ask for known weaknesses of what is locked; says where the package index is silent
	$(TOOLS)/bin/python tests/audit.py $(TOOLS)/bin/pip-audit

$(TOOLS)/.made: requirements-tools.lock
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-tools.lock
	@touch $(TOOLS)/.made

clean: ## remove all that these targets made
	rm -rf $(VENV) $(DEMO) $(TOOLS) .venv-3.* dist build mutants .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
