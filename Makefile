# A fresh machine needs make and Python 3.11, 3.12 or 3.13 (with venv). Everything else is
# installed into .venv from locks with hashes. `make` alone lists the targets.

# The first of these that runs and has the right version; choose another with PYTHON=...
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	"$$p" -c $(PYTHON_FITS) >/dev/null 2>&1 && { echo "$$p"; break; }; done)
PYTHON_FITS = 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'

PYTEST_WORKERS ?= 2
PYTEST_ARGS ?=
UV ?= uv

VENV := .venv
BENCH_VENV := .venv-bench
BIN := $(VENV)/bin
PIP_FLAGS := --quiet --disable-pip-version-check --no-input
# Only ready-made wheels: a source build would download build tools that no lock names.
PIP_LOCKED := $(PIP_FLAGS) --no-deps --require-hashes --only-binary :all:

# One BLAS thread: threads make the SVD of small matrices hundreds of times slower.
export OPENBLAS_NUM_THREADS := 1
# Bytecode is kept, whatever the environment says: tests start Python a hundred times.
unexport PYTHONDONTWRITEBYTECODE
PYRIGHT := PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright
JAX_CACHE := JAX_COMPILATION_CACHE_DIR="$(CURDIR)/.cache/jax" \
	JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.5

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup theorems test test-slow bench bench-flow gpu kernels docs notebooks lint format lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.project $(VENV)/.data ## install everything into .venv (a second run does nothing)

theorems: setup ## check every claim; writes results/theorems.html and .json
	@mkdir -p results
	$(JAX_CACHE) $(BIN)/gradflow check --html results/theorems.html --json results/theorems.json

# pyright uses one core for a minute: it runs beside the tests, and says at the end what it found.
TYPES := .cache/pyright.txt

test: setup ## lint, type check and test all but the slow tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p .cache
	@$(PYRIGHT) >$(TYPES) 2>&1 & types=$$!; trap 'kill $$types 2>/dev/null' EXIT; \
	$(JAX_CACHE) $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder --durations=15 $(PYTEST_ARGS); \
	tested=$$?; wait $$types; typed=$$?; echo pyright; cat $(TYPES); \
	test $$tested -eq 0 && test $$typed -eq 0

test-slow: setup ## the slow tests alone
	$(JAX_CACHE) $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder -o faulthandler_timeout=7200 -m slow $(PYTEST_ARGS)

bench: $(BENCH_VENV)/.torch ## compare the speed of descent with PyTorch (own environment, .venv-bench)
	$(BENCH_VENV)/bin/python -m benchmarks.descent
	$(BENCH_VENV)/bin/python -m benchmarks.tensors

bench-flow: setup ## work and precision of the flow's solvers; writes its numbers and docs/'s picture
	$(JAX_CACHE) $(BIN)/python -m benchmarks.flow --json benchmarks/results/flow-cpu.json
	$(BIN)/python -m benchmarks.flow_report benchmarks/results/flow-cpu.json \
		docs/solvers.md docs/flow-work-precision.png

# Pieces of under nine minutes, the most important first; called again, it goes on where it was.
# `make gpu PYTHON=python3 INSTALL=no` takes a Python that has everything; `make gpu DEVICE=cpu
# SCALE=small` tries it out. The numbers: benchmarks/results/<device>.json.
DEVICE ?= gpu
SCALE ?= whole
INSTALL ?= yes
GPU_ARGS ?=
GPU_PYTHON = $(if $(filter no,$(INSTALL)),$(PYTHON),$(BIN)/python)

gpu: $(if $(filter no,$(INSTALL)),,setup $(if $(filter gpu,$(DEVICE)),$(VENV)/.cuda)) ## measure and check on an accelerator, unattended, 40 minutes
	$(JAX_CACHE) $(GPU_PYTHON) -m benchmarks.accelerator --device $(DEVICE) --scale $(SCALE) $(GPU_ARGS)

# XLA's compiler for GPUs, in a folder that JAX does not search for one.
.kernels/.locked: benchmarks/requirements-kernels.txt
	@$(BIN)/python -m pip install $(PIP_LOCKED) --upgrade --target .kernels -r benchmarks/requirements-kernels.txt
	@touch $@

kernels: setup .kernels/.locked ## count the kernels that a GPU would run, without one
	$(BIN)/python -m benchmarks.kernels --json benchmarks/results/kernels-h200.json

# The ledger's report is part of the site; an older one stays as it is.
results/theorems.html:
	$(MAKE) theorems

docs: setup $(VENV)/.docs results/theorems.html ## the documentation with gallery and ledger, offline: site/index.html
	$(JAX_CACHE) $(BIN)/python docs/make_gallery.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	$(BIN)/python docs/check_site.py site

notebooks: setup $(VENV)/.docs ## execute every notebook in place
	$(JAX_CACHE) $(BIN)/python notebooks/execute.py

lint: setup ## ruff (rules and format) and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYRIGHT)

format: setup ## apply ruff's fixes and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Keeps the pins that still fit; `make lock UV_FLAGS=--upgrade` renews them all.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --custom-compile-command "make lock" $(UV_FLAGS)

lock: ## renew the locks after a change of requirements (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv (pip install uv), or UV=/path/to/uv"; exit 1; }
	$(COMPILE) pyproject.toml -o requirements/base.txt
	$(COMPILE) pyproject.toml --extra dev -c requirements/base.txt -o requirements/dev.txt
	$(COMPILE) pyproject.toml --extra docs -c requirements/dev.txt -o requirements/docs.txt
	$(COMPILE) --no-deps requirements/data.in -o requirements/data.txt
	$(COMPILE) pyproject.toml benchmarks/requirements.in -c requirements/base.txt -o benchmarks/requirements.txt

clean: ## remove the environments and caches (results/ stays)
	rm -rf $(VENV) $(BENCH_VENV) .cache .hypothesis .pytest_cache .ruff_cache build dist site docs/gallery
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environments. Each step leaves a stamp in the environment, newer than what it installed.

$(VENV)/.created $(BENCH_VENV)/.created:
	@python='$(PYTHON)'; \
	if [ -z "$$python" ]; then \
		echo "No Python 3.11, 3.12 or 3.13 found. Install one, or name it: make setup PYTHON=/path/to/python3" >&2; exit 1; fi; \
	if ! "$$python" -c $(PYTHON_FITS); then \
		echo "$$python does not run or is not Python 3.11, 3.12 or 3.13." >&2; exit 1; fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$$python has no venv module (Debian and Ubuntu: install python3-venv)." >&2; exit 1; fi; \
	echo "Creating $(@D) with $$python ($$("$$python" --version))"; \
	"$$python" -m venv --clear $(@D)
	@touch $@

# pip compiles on one core, the packages' own tests too: half of what it takes.
$(VENV)/.locked: requirements/dev.txt $(VENV)/.created
	@echo "Installing requirements/dev.txt (about a minute)"
	@$(BIN)/python -m pip install $(PIP_LOCKED) --no-compile -r requirements/dev.txt
	@$(BIN)/python -m compileall -q -j 0 -x '/tests/' $(VENV)/lib >/dev/null 2>&1 || true
	@touch $@

$(VENV)/.docs: requirements/docs.txt $(VENV)/.locked
	@echo "Installing requirements/docs.txt"
	@$(BIN)/python -m pip install $(PIP_LOCKED) -r requirements/docs.txt
	@touch $@

# JAX's CUDA packages by the version of the lock; they are not locked themselves, being one kind of
# machine's.
$(VENV)/.cuda: requirements/base.txt $(VENV)/.project
	@echo "Installing JAX for CUDA"
	@version=$$($(BIN)/python -c 'from importlib.metadata import version; print(version("jax"))'); \
		$(BIN)/python -m pip install $(PIP_FLAGS) "jax[cuda12]==$$version"
	@touch $@

$(VENV)/.data: requirements/data.txt $(VENV)/.created
	@$(BIN)/python -m pip install $(PIP_LOCKED) -r requirements/data.txt
	@touch $@

$(VENV)/.project: pyproject.toml $(VENV)/.locked
	@$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation -e .
	@touch $@

$(BENCH_VENV)/.locked: benchmarks/requirements.txt $(BENCH_VENV)/.created
	@echo "Installing benchmarks/requirements.txt"
	@$(BENCH_VENV)/bin/python -m pip install $(PIP_LOCKED) -r benchmarks/requirements.txt
	@touch $@

# torch is pinned by version, not by hash: its CPU and CUDA builds share the version 2.13.0 and
# differ in hash and in requirements. What all builds need is locked with hashes above, so a CPU
# build brings nothing more; a CUDA build brings the CUDA packages its metadata pins exactly.
$(BENCH_VENV)/.torch: benchmarks/requirements-torch.txt $(BENCH_VENV)/.locked
	@echo "Installing torch"
	@$(BENCH_VENV)/bin/python -m pip install $(PIP_FLAGS) -r benchmarks/requirements-torch.txt
	@touch $@
