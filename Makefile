# Everything runs in .venv, which is made on first use; PYTHON names another interpreter to make it from.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check bench collector clean

demo: .venv/installed
	$(BIN)/otel-audit demo

test: .venv/installed
	$(BIN)/pytest -q

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases tests
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: .venv/installed
	$(BIN)/python benchmarks/run.py

# A real Collector for tests/collector and for you, with Go 1.26: six minutes the first time, then kept in .cache.
collector:
	@collector-config/build

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "otel-audit needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	# in two steps: OpenTelemetry's pinned sets are published one package after the other, and while a newer one
	# is half there, pip tries every version of everything that it is given beside them
	$(BIN)/pip install --quiet --editable '.[all]' --group otel
	$(BIN)/pip install --quiet --group dev
	touch $@

clean:
	rm -rf .venv
