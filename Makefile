# Everything here needs Python >= 3.11, pip and make, and nothing else; the rest goes into .venv, by itself, once.
# Another Python: make test PYTHON=/path/to/python

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: screenshots examples help demo test test-long bench format check secrets audit lock clean

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
LOCK := $(BIN)/uv pip compile --no-config --universal --python-version 3.11 --generate-hashes -q \
	--custom-compile-command "make lock" $(if $(upgrade),--upgrade)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: .venv/ready ## a made-up month of a contact centre and a desk to work at, served until Ctrl-C
	@./scripts/demo.sh $(BIN)

test: check ## check, then every test but the long ones
	@$(BIN)/pytest

test-long: check ## check, then every test, the long ones too
	@$(BIN)/pytest -m "long or not long"

bench: .venv/ready-bench ## handletime against its peers, side by side in one run
	@$(BIN)/python -m bench

.PHONY: soak bench-spark
bench-spark: .venv/ready-bench ## the derivation on a Spark cluster of one and of two workers (needs Java)
	@$(BIN)/python -m bench.spark

soak: .venv/ready ## an hour of load on a server, which has to stay flat
	@$(BIN)/python -m bench.soak $(if $(minutes),--minutes $(minutes))

examples: .venv/ready ## the examples of /openapi.json anew, from the answers of a server
	@$(BIN)/python -m tests.api.make_examples

screenshots: .venv/ready ## the pictures of docs/images, anew (needs chromium)
	@$(BIN)/python -m tests.browser.screenshots
	@$(BIN)/python -m tests.tracker.picture

format: .venv/ready ## put the code into the house's form
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

check: secrets ## lint, format, types and secrets
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy $(wildcard src tests bench scripts)

secrets: .venv/ready ## is there a key or a password in a file?
	@./scripts/secrets.sh $(BIN)

# Asks the advisory service, and so is no part of any test.
audit: .venv/ready-audit ## before a release: are there advisories on what we depend on?
	@./scripts/audit.sh $(BIN)

# Pins stay where pyproject.toml allows; `make lock upgrade=yes` takes the newest of everything.
lock: .venv/ready-lock ## pin what pyproject.toml asks for in requirements/, with hashes
	@$(LOCK) pyproject.toml -o requirements/runtime.txt
	@$(LOCK) pyproject.toml --extra spark --extra holidays --group dev -c requirements/runtime.txt -o requirements/dev.txt
	@$(LOCK) pyproject.toml --extra spark -c requirements/dev.txt -o requirements/spark.txt
	@$(LOCK) pyproject.toml --extra holidays -c requirements/dev.txt -o requirements/holidays.txt
	@$(LOCK) --group build -c requirements/dev.txt -o requirements/build.txt
	@$(LOCK) --group bench -c requirements/dev.txt -o requirements/bench.txt
	@$(LOCK) --group audit -c requirements/dev.txt -o requirements/audit.txt
	@$(LOCK) --group lock -o requirements/lock.txt
	@$(LOCK) --group tap --no-deps -o requirements/tap.txt

clean: ## remove .venv, caches and builds
	@rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

.venv/made:
	@$(find_python); \
	echo "setting up .venv with $$python (once, about a minute)"; \
	"$$python" -m venv --clear .venv || { rm -rf .venv; exit 1; }
	@touch $@

.venv/ready: .venv/made requirements/dev.txt requirements/tap.txt pyproject.toml
	@echo "installing what requirements/dev.txt pins"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --require-hashes --no-deps --upgrade --target .venv/tap -r requirements/tap.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check >$@.log || { \
		cat $@.log; echo "requirements/ does not fit pyproject.toml: run make lock" >&2; exit 1; }
	@touch $@

.venv/ready-bench: .venv/ready requirements/bench.txt
	@echo "installing what requirements/bench.txt pins"
	@$(PIP) install --require-hashes -r requirements/bench.txt
	@touch $@

.venv/ready-audit: .venv/ready requirements/audit.txt
	@echo "installing what requirements/audit.txt pins"
	@$(PIP) install --require-hashes -r requirements/audit.txt
	@touch $@

# Not after .venv/ready, which fails for as long as the locks do not fit.
.venv/ready-lock: .venv/made requirements/lock.txt
	@echo "installing what requirements/lock.txt pins"
	@$(PIP) install --require-hashes -r requirements/lock.txt
	@touch $@

# Sets $python, or says what is missing. Each candidate is run, because a name on the PATH may be an empty shell.
define find_python
python=; bare=; \
for candidate in $(or $(PYTHON),python3.14 python3.13 python3.12 python3.11 python3 python); do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	"$$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1 || { bare=$${bare:-$$candidate}; continue; }; \
	python=$$candidate; break; \
done; \
if [ -z "$$python" ] && [ -n "$$bare" ]; then \
	echo "$$bare cannot make virtual environments: its venv module is missing (Debian, Ubuntu: apt-get install python3-venv)" >&2; \
	exit 1; \
elif [ -z "$$python" ]; then \
	echo "no Python 3.11 or newer found (looked for $(or $(PYTHON),python3.14 to python3.11, python3, python)); install one, or name it: make PYTHON=..." >&2; \
	exit 1; \
fi
endef
