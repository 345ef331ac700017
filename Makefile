# Every target sets itself up in .venv and is quick the second time.
#   make demo    compare training algorithms on a non-ideal device (about a minute)
#   make test    everything the gate runs
#   make test-slow  the tests that sample large matrices, on all of them
#   make bench   time the kernels (criterion, two to three minutes); benches/python/compare.py compares with a peer
#   make wheels  a wheel for this platform and CPython 3.11 or newer, and a source distribution, in dist/
#   make smoke   install that wheel in an empty environment and use it there
#   make clean   remove what the others made, except the demo's results

PYTHON ?= python3
export VIRTUAL_ENV := $(CURDIR)/.venv
BIN := .venv/bin
STAMPS := .venv/stamps
RUST := Cargo.toml $(wildcard Cargo.lock) $(shell find rust -name '*.rs' -o -name Cargo.toml)
SHIPPED := $(shell find python -name '*.py*' -not -path '*/__pycache__/*') $(wildcard python/ohmgrad/data/*) README.md LICENSE
INSTALL := $(BIN)/maturin develop --release --locked --quiet

.PHONY: demo test test-slow bench wheels smoke clean

demo: $(STAMPS)/plot
	$(BIN)/ohmgrad demo

test: $(STAMPS)/dev
	cargo fmt --all --check
	cargo clippy --quiet --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --locked --no-deps
	cargo test --quiet --locked
	cargo test --quiet --locked -p ohmgrad-benches --test work
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest ohmgrad._core
	$(BIN)/python -m pytest

test-slow: $(STAMPS)/dev
	$(BIN)/python -m pytest -m slow

bench:
	cargo bench --locked -p ohmgrad-benches

wheels: dist/.built

smoke: wheels
	ls -l dist
	test "$$(cat dist/*.whl | wc -c)" -le 5000000
	for name in LICENSE py.typed _core.pyi digits.npz digits_split.txt data/README.md; do \
		for list in "$(PYTHON) -m zipfile -l dist/*.whl" "tar -tzf dist/*.tar.gz"; do \
			$$list | grep "/$$name" > /dev/null || { echo "$$name is missing: $$list" >&2; exit 1; }; \
		done; \
	done
	place=$$(mktemp -d) && trap 'rm -rf "$$place"' EXIT && \
	$(PYTHON) -m venv "$$place/venv" && \
	"$$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check dist/*.whl && \
	sed -n '/^```python$$/,/^```$$/{/^```/!p;}' README.md > "$$place/readme.py" && \
	cd "$$place" && \
	venv/bin/ohmgrad demo --seeds 1 --epochs 2 && \
	venv/bin/python -W error readme.py

clean:
	rm -rf .venv dist target .mypy_cache .pytest_cache .ruff_cache .hypothesis python/ohmgrad/*.so
	find python tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMPS)/venv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'maturin>=1.9.4,<2'
	mkdir -p $(STAMPS)
	touch $@

# The wheel is built from the unpacked source distribution: that shows that nothing is missing there.
dist/.built: $(STAMPS)/venv $(RUST) $(SHIPPED) pyproject.toml
	rm -rf dist
	CARGO_TARGET_DIR=$${CARGO_TARGET_DIR:-$(CURDIR)/target} $(BIN)/maturin build --release --sdist --quiet --out dist
	touch $@

$(STAMPS)/plot: $(STAMPS)/venv $(RUST) pyproject.toml
	$(INSTALL) --extras plot
	touch $@

# The development extra contains the plotting one.
$(STAMPS)/dev: $(STAMPS)/venv $(RUST) pyproject.toml
	$(INSTALL) --extras dev
	touch $@ $(STAMPS)/plot
