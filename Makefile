# Every target sets itself up in .venv and is quick the second time.
#   make demo    compare training algorithms on a non-ideal device (about a minute)
#   make test    everything the gate runs
#   make clean   remove what the others made, except the demo's results

PYTHON ?= python3
export VIRTUAL_ENV := $(CURDIR)/.venv
BIN := .venv/bin
STAMPS := .venv/stamps
RUST := Cargo.toml $(wildcard Cargo.lock) $(shell find rust -name '*.rs' -o -name Cargo.toml)
INSTALL := $(BIN)/maturin develop --release --quiet

.PHONY: demo test clean

demo: $(STAMPS)/plot
	$(BIN)/ohmgrad demo

test: $(STAMPS)/dev
	cargo fmt --all --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo test --quiet
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest ohmgrad._core
	$(BIN)/python -m pytest

clean:
	rm -rf .venv target .mypy_cache .pytest_cache .ruff_cache .hypothesis python/ohmgrad/*.so
	find python tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMPS)/venv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'maturin>=1.9.4,<2'
	mkdir -p $(STAMPS)
	touch $@

$(STAMPS)/plot: $(STAMPS)/venv $(RUST) pyproject.toml
	$(INSTALL) --extras plot
	touch $@

# The development extra contains the plotting one.
$(STAMPS)/dev: $(STAMPS)/venv $(RUST) pyproject.toml
	$(INSTALL) --extras dev
	touch $@ $(STAMPS)/plot
