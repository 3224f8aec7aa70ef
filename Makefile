# What a developer types. Each target makes $(VENV) by itself, unless $(PYTHON) is a venv's already.

# What `make bench` hands on, such as BENCH="--quick --cases fused.*".
BENCH ?=
PYTHON ?= python3
VENV ?= .venv
export MLXC_STRICT := 1

IN_VENV := $(shell $(PYTHON) -c "import sys; print(int(sys.prefix != sys.base_prefix))")
ifeq ($(IN_VENV),1)
PY := $(shell $(PYTHON) -c "import sys; print(sys.executable)")
else
PY := $(VENV)/bin/python
endif
# One stamp a set of extras that was installed; it lives in the environment that it speaks of.
STAMPS := $(shell dirname $(PY))/../.mlxc
C_SOURCES = $(wildcard shaders/*.metal shaders/*.h objc/*.m objc/*.h)

.PHONY: build debug test check format fuzz bench demo examples docs wheel clean

build: $(STAMPS)/dev,test
	$(PY) setup.py -q build_ext --inplace

debug: $(STAMPS)/dev,test
	MLXC_DEBUG_BUILD=1 $(PY) setup.py -q build_ext --inplace

test: build
	$(PY) -m pytest

check: $(STAMPS)/dev,test
	$(PY) -m ruff check .
	PATH="$(dir $(PY)):$$PATH" cython-lint mlxc
	$(if $(C_SOURCES),$(dir $(PY))clang-format --dry-run -Werror $(C_SOURCES))

format: $(STAMPS)/dev,test
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(if $(C_SOURCES),$(dir $(PY))clang-format -i $(C_SOURCES))

# make fuzz CALLS=100000 SEED=7
CALLS ?= 20000
fuzz: build
	$(PY) -m tests.fuzz --calls $(CALLS) $(if $(SEED),--seed $(SEED))

bench: build $(STAMPS)/bench,mlx
	$(PY) -m bench $(BENCH)

demo: build $(STAMPS)/demo
	PYTHONPATH=. $(PY) examples/digits.py

examples: build $(STAMPS)/demo
	for example in examples/*.py; do echo "== $$example"; PYTHONPATH=. $(PY) $$example || exit 1; done

docs: build
	PYTHONPATH=. $(PY) docs/stubs.py
	PYTHONPATH=. $(PY) docs/build.py

wheel: $(STAMPS)/dev,test
	$(PY) -m pip wheel -q --no-deps -w dist .

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis docs/_build examples/_out
	find mlxc tests bench -name '*.so' -delete -o -name __pycache__ -prune -exec rm -rf {} +

$(PY):
	$(PYTHON) -m venv $(VENV)

# Installs the project in place with these extras: a first build.
$(STAMPS)/%: pyproject.toml | $(PY)
	$(PY) -m pip install -q -e ".[$*]"
	mkdir -p $(STAMPS) && touch $@
