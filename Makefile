# Everything works from a clean clone with Python 3.10 or later and make: `make help` lists what there is.

PYTHON ?= python3
VENV := .venv
DEMO_VENV := .venv-demo
IMPORTERS_VENV := .venv-importers
RUN := $(VENV)/bin/python
# `make test-frameworks FRAMEWORKS=heavy-frameworks` also tests with what takes long to install
FRAMEWORKS ?= frameworks
FRAMEWORKS_VENV := .venv-$(FRAMEWORKS)
# What pip installs as PyTorch; on Linux the usual build brings gigabytes of CUDA
TORCH ?= torch==2.13.0
JOBS ?= 3
PYTEST := $(RUN) -m pytest --numprocesses $(JOBS) --dist loadfile

CHROMIUM := DEBIAN_FRONTEND=noninteractive apt-get install --yes chromium chromium-driver

.DEFAULT_GOAL := help
.PHONY: help install demo test check format interop faults test-frameworks test-importers bench bench-full \
	bench-clouds docs vendor browser clean

help: ## List what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Make a virtual environment, .venv, with the project and what its development needs

demo: $(DEMO_VENV)/.installed ## Train the iris example twice, then list, show, compare and restore its runs
	@examples/iris/demo.sh $(DEMO_VENV) .cache/demo

test: install browser ## Run all tests, those against the real Keepsake 0.4.2 included
	$(PYTEST)

check: install ## Lint, check the formatting, the types (for Windows and macOS too), and that the generated documentation is up to date
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy
	$(RUN) -m mypy --platform darwin --no-warn-unreachable --cache-dir .mypy_cache/darwin keepsake benchmarks
	$(RUN) -m mypy --platform win32 --always-true WINDOWS --no-warn-unreachable --cache-dir .mypy_cache/win32 keepsake
	$(RUN) docs/generate.py --check

format: install ## Put the code into its form, and mend what the linter can
	$(RUN) -m ruff check --fix
	$(RUN) -m ruff format

interop: install ## Only the tests against the real Keepsake 0.4.2, both ways
	$(PYTEST) tests/interop

faults: install ## The fault tests in their long form: kills, full disks, torn files, hostile input, random histories
	$(PYTEST) tests/faults -m "exhaustive or not exhaustive"

test-frameworks: $(FRAMEWORKS_VENV)/.installed ## Test the callbacks with the real frameworks (on CPU)
	KERAS_BACKEND=torch $(FRAMEWORKS_VENV)/bin/python -m pytest tests/frameworks

test-importers: $(IMPORTERS_VENV)/.installed ## Test the importers with the real MLflow, TensorBoard, W&B and trackio
	$(IMPORTERS_VENV)/bin/python -m pytest tests/importing

bench: install ## Measure against Keepsake 0.4.2, in a few minutes
	$(RUN) -m benchmarks

bench-full: install ## Measure against Keepsake 0.4.2, at full size
	$(RUN) -m benchmarks --full

bench-clouds: install ## Measure over S3 and Cloud Storage, from servers on this machine
	$(RUN) -m benchmarks.clouds

browser: ## Install Chromium and its driver, which test the report's page, where apt and root are
	@command -v chromedriver >/dev/null \
		|| { test "$$(id -u)" = 0 && { $(CHROMIUM) || { apt-get update && $(CHROMIUM); }; } >/dev/null 2>&1; } \
		|| echo "NOT TESTED: the report's page, because chromium and chromedriver are not here. Install them." >&2

vendor: ## Fetch the libraries in the report from npm's registry, and check them
	$(PYTHON) keepsake/report/vendoring.py

docs: install ## Generate the references in docs/, and all pictures there
	$(RUN) docs/generate.py
	$(RUN) docs/gallery.py

clean: ## Remove the virtual environments and all caches
	rm -rf .venv .venv-* .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache

# An environment is brought up to date when what it should hold has changed
$(VENV)/.installed: CONTENT = --editable '.[dev]'
$(DEMO_VENV)/.installed: CONTENT = --editable . --requirement examples/iris/requirements.txt
$(DEMO_VENV)/.installed: examples/iris/requirements.txt
$(FRAMEWORKS_VENV)/.installed: CONTENT = $(TORCH) --editable '.[test,$(FRAMEWORKS)]'
$(IMPORTERS_VENV)/.installed: CONTENT = --editable '.[test,importers]'

%/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Keepsake needs Python 3.10 or later, and $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Installing into $*, once: a minute or two" >&2
	@$(PYTHON) -m venv $*
	@$*/bin/python -m pip install --quiet --disable-pip-version-check $(CONTENT)
	@touch $@
