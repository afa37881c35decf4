# Each target sets up what it needs in .venv from nothing but Python 3.11+ and
# make, and does so again only when pyproject.toml has changed.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet

.PHONY: demo test check crash bench bench-system gates bench-survival bench-pool bench-gateway mutants docs conformance format clean

demo: $(VENV)/.run
	$(BIN)/holdfast demo

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist=worksteal

check: $(VENV)/.check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

crash: $(VENV)/.test
	$(BIN)/python -m benchmarks.crash

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

gates: $(VENV)/.bench
	$(BIN)/python -m benchmarks.gates

bench-system: $(VENV)/.bench
	$(BIN)/python -m benchmarks.system
	$(BIN)/python -m benchmarks.analytics
	$(BIN)/python -m benchmarks.history

bench-survival: $(VENV)/.survival
	$(BIN)/python -m benchmarks.survival

bench-pool: $(VENV)/.bench
	$(BIN)/python -m benchmarks.pool

bench-gateway: $(VENV)/.test
	$(BIN)/python -m benchmarks.gateway
	$(BIN)/python -m benchmarks.sockets
	$(BIN)/python -m benchmarks.jobs

mutants: $(VENV)/.test
	$(BIN)/python -m benchmarks.mutation

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

conformance: $(VENV)/.test
	COMFYUI_URL="$(COMFYUI_URL)" $(BIN)/python -m pytest tests/conformance

format: $(VENV)/.check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) site dist

# pip 25.1 is the first that reads [dependency-groups].
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "Holdfast needs Python 3.11 or newer on the PATH (or: make PYTHON=/path/to/python)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.run: $(VENV)/.made pyproject.toml
	$(PIP) -e ".[cli]"
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(PIP) --group test
	@touch $@

$(VENV)/.check: $(VENV)/.run
	$(PIP) --group dev
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	$(PIP) --group bench
	@touch $@

$(VENV)/.survival: $(VENV)/.run
	$(PIP) --group survival
	@touch $@

$(VENV)/.docs: $(VENV)/.made pyproject.toml
	$(PIP) --group docs
	@touch $@
