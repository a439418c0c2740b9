# make demo: set up, run the main job, clean up (KEEP=1 leaves the mesh running). make test: set up, run the whole test suite.
# Debian packages that the mesh itself needs, and those that only tests and benchmarks need.
DEBIAN_RUN  := iproute2 iptables runc python3-venv
DEBIAN_TEST := nginx-light wrk nghttp2-client
# Debian's own interpreter is built with PGO and LTO; prefer it where it is recent enough.
PYTHON := $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3 || echo python3)
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: compile coverage demo fuzz test setup setup-dev check generate lock clean

demo: setup
	$(BIN)/python -m mizzen.up.demo $(if $(KEEP),--keep)

test: setup-dev
	$(BIN)/python -m pytest $(PYTEST)

setup: $(VENV)/.ready
setup-dev: $(VENV)/.ready-dev

$(VENV)/.ready: requirements.lock pyproject.toml
	./scripts/debian-packages $(DEBIAN_RUN)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/.ready-dev: requirements-dev.lock $(VENV)/.ready
	./scripts/debian-packages $(DEBIAN_TEST)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@

# What the continuous integration checks besides the tests (the tests call it too).
check: setup-dev
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/lint-imports && $(BIN)/mypy

# What is written from the types and checked in; tests fail when it is stale.
generate: setup-dev
	$(BIN)/python -m mizzen.api.crds

# How much of the code the tests without root reach; the report is htmlcov/index.html.
coverage: setup-dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest tests/unit -q
	$(BIN)/coverage combine -q
	$(BIN)/coverage html -q
	$(BIN)/coverage report --format=total

# Every codec under atheris for FUZZ seconds each; what it finds is left in build/fuzz.
fuzz: setup-dev
	for target in $$($(BIN)/python -c 'from tests.fuzz.targets import TARGETS; print(*TARGETS)'); do \
	  mkdir -p build/fuzz/$$target && RUST_BACKTRACE=0 $(BIN)/python -m tests.fuzz $$target \
	    -max_total_time=$(or $(FUZZ),300) -max_len=4096 -artifact_prefix=build/fuzz/$$target- build/fuzz/$$target || exit 1; done

lock:
	$(BIN)/uv pip compile pyproject.toml --generate-hashes --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" -q -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --group dev --generate-hashes --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" -q -o requirements-dev.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	./scripts/compile-proxy clean

# The data path's hot modules as C extensions (mypyc); the proxy then does about half as much again per CPU second.
compile: setup-dev
	PYTHON=$(BIN)/python ./scripts/compile-proxy
