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
C_SOURCES = $(wildcard shaders/*.metal shaders/*.h objc/*.[chm] tests/softmetal/*.[chm] \
  tests/softmetal/*.cc tests/softmetal/*/*.h tests/softmetal/include/*/*.h)

.PHONY: build debug test check format fuzz asan ubsan tsan soak test-arm64 accuracy \
	metal-packages test-metal test-cuda check-mac bench demo examples docs wheel clean

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

# make fuzz CALLS=100000 FILES=60000 SEED=7
CALLS ?= 1000000
FILES ?= 300000
fuzz: build
	$(PY) -m tests.fuzz --calls $(CALLS) $(if $(SEED),--seed $(SEED))
	$(PY) -m tests.fuzz_files --files $(FILES) $(if $(SEED),--seed $(SEED))

# The tests on builds with gcc's sanitisers, which stand in build/sanitize.
SANITIZER_asan = address
SANITIZER_ubsan = undefined
SANITIZER_tsan = thread
asan ubsan tsan: $(STAMPS)/dev,test
	$(PY) -m tests.sanitize $(SANITIZER_$@)

# make soak MINUTES=5 SEED=7
MINUTES ?= 20
soak: build
	$(PY) -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# Kernels for 64-bit ARM under an emulator: gcc-aarch64-linux-gnu and qemu-user-static are needed.
test-arm64: $(STAMPS)/dev,test
	$(PY) -m tests.arm64

# The GPU without a Mac (docs/metal.md): the shim and the shaders, unmodified, on a Metal in software.
METAL_PACKAGES = clang-19 gobjc libobjc-12-dev libblocksruntime-dev g++
SUDO = $(if $(filter 0,$(shell id -u)),,sudo)
SOFTWARE_METAL = $$($(PY) tests/softmetal/build.py)
metal-packages:
	dpkg -s $(METAL_PACKAGES) >/dev/null 2>&1 || { $(SUDO) apt-get update -qq && \
	  $(SUDO) apt-get install -y -qq --no-install-recommends $(METAL_PACKAGES); }

# make test-metal ONLY="test_table"
test-metal: build metal-packages
	MLXC_METAL_LIBRARY=$(SOFTWARE_METAL) $(PY) tests/metal/run.py $(if $(ONLY),--only "$(ONLY)")

# The same shaders on an NVIDIA GPU: tests, compute-sanitizer, speeds.
test-cuda: metal-packages
	$(PY) tests/softmetal/build.py
	$(PY) tests/softmetal/cuda_run.py

# On a Mac: the tests on its GPU, and what only it can show, as one report.
check-mac: build
	$(PY) tests/metal/mac.py

accuracy: build
	PYTHONPATH=. $(PY) docs/accuracy.py

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

# Installs the project in place with these extras. What builds it is installed first, so that this
# build is the one that later ones go on with.
$(STAMPS)/%: pyproject.toml | $(PY)
	sed -n 's/^requires = \[\(.*\)\]/\1/p' pyproject.toml | sed 's/", "/" "/g' \
		| xargs $(PY) -m pip install -q
	$(PY) -m pip install -q --no-build-isolation -e ".[$*]"
	mkdir -p $(STAMPS) && touch $@
