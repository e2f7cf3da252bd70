# `make` lists what there is. Everything built lands in build/ and target/.
SHELL := bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
export PYTHON
VENV := $(CURDIR)/build/venv
STEP := tests/tools/step.sh
# Cargo's builds use the same interpreter as pip's, so neither undoes the other's.
export PYO3_PYTHON := $(VENV)/bin/python

.PHONY: help
help: ## show this list
	@echo "deathtensors: make TARGET   (V=1 shows what each step says; PYTHON=… names the interpreter)"
	@sed -n 's/^\([a-z_-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-12s %s\n", $$1, $$2 }'

.PHONY: build
build: .venv .viewer ## build everything and install the package into build/venv
	@$(STEP) "cargo build" bash -c '. tests/tools/release_env.sh && cargo build --locked --workspace --release'
	@$(STEP) "package into build/venv" tests/tools/venv.sh package

.PHONY: demo
demo: .viewer ## convert real weights there and back, and look at them (a few minutes)
	@tests/tools/demo.sh

.PHONY: test
test: ## install what it needs, then check everything
	@date -u '+started %Y-%m-%d %H:%M:%S UTC'
	@$(MAKE) .venv .rust-lint .ruff rust
	@SEED=1 $(MAKE) fuzz
	@$(MAKE) python .types sdist web
	@$(STEP) "demo" tests/tools/demo.sh
	@date -u '+all passed %Y-%m-%d %H:%M:%S UTC'

.PHONY: lint
lint: .venv .rust-lint .ruff .package .types ## formatters, linters and type checkers

.PHONY: rust
rust: .venv ## the Rust tests, and the proof that the core is no_std
	@$(STEP) "cargo test" cargo test --locked --workspace
	@$(STEP) "the core with core and alloc alone" tests/tools/no_std.sh

.PHONY: python
python: .package ## the Python tests, against the installed package
	@$(STEP) "pytest" $(VENV)/bin/python -m pytest -q tests/python

.PHONY: fuzz-python
fuzz-python: .package ## try new models, damage and arguments (20 minutes; ARGS="--minutes N")
	@$(VENV)/bin/python tests/tools/fuzz_python.py $(ARGS)

.PHONY: faults
faults: .package ## cut every way of writing at every step, and count; the table is in build/faults.md
	@$(STEP) "every write cut at every step" $(VENV)/bin/python -m pytest -q tests/python/test_faults.py
	@cat build/faults.md

.PHONY: fuzz
fuzz: ## look for input that breaks a property, ARGS="SECONDS [TARGET …]"; the table is in build/fuzz.md
	@$(STEP) "fuzzers, $(or $(firstword $(ARGS)),60) s each" bash -c 'set -o pipefail; tests/tools/fuzz.sh $(or $(ARGS),60) | tee build/fuzz.md'
	@cat build/fuzz.md

.PHONY: miri
miri: ## the unsafe module's tests under Miri, where it is installed
	@$(STEP) "the unsafe module under Miri" tests/tools/miri.sh

.PHONY: sanitizers
sanitizers: .requirements ## tests under AddressSanitizer, ThreadSanitizer, Valgrind (ARGS="address thread memcheck")
	@$(STEP) "tests under sanitizers" tests/tools/sanitizers.sh $(ARGS)
	@cat build/sanitizers.md

.PHONY: deny
deny: ## cargo-deny: licences, duplicate versions, sources (it is compiled first: some minutes)
	@$(STEP) "cargo deny" tests/tools/deny.sh licenses bans sources

.PHONY: advisories
advisories: .npm ## known holes in dependencies; needs github.com and the npm registry
	@$(STEP) "RustSec advisories" tests/tools/deny.sh advisories
	@$(STEP) "npm audit" npm audit --prefix web

.PHONY: reproducible
reproducible: .venv ## build everything that is handed out twice, in two places, and compare
	@$(STEP) "two builds compared" tests/tools/reproducible.sh

.PHONY: platforms
platforms: ## the Rust tests on a big-endian and a 32-bit machine and on Windows; ARGS="NAME …"
	@$(STEP) "other platforms" tests/tools/platforms.sh $(ARGS)

.PHONY: sdist
sdist: .requirements ## the source distribution: build, install, use
	@$(STEP) "sdist in a clean environment" tests/tools/sdist.sh

.PHONY: web
web: .package ## the npm package and the viewer: in Node, as packed, in real Chromium
	@$(STEP) "biome and tsc" npm run --silent check --prefix web
	@$(STEP) "npm package in Node" npm run --silent test --prefix web
	@$(STEP) "npm package as packed" npm run --silent packed --prefix web
	@$(STEP) "viewer in Chromium" npm run --silent e2e --prefix web

.PHONY: wasm
wasm: .npm ## the core for JavaScript, into web/src/wasm; prints its size
	@$(STEP) "wasm" tests/tools/wasm.sh

.PHONY: bench
bench: .package ## the table of times against other libraries (a quarter of an hour)
	@$(STEP) "what it compares with (benches/requirements.txt)" $(VENV)/bin/pip install -r benches/requirements.txt
	@$(VENV)/bin/python benches/run.py $(ARGS)

.PHONY: counts
counts: ## the table of docs/reliability.md, of what the last runs tried
	@$(PYTHON) tests/tools/counts.py

.PHONY: vectors
vectors: ## write the conformance vectors again
	@$(PYTHON) tests/vectors/generate.py

.PHONY: clean
clean: ## delete everything that was built
	rm -rf build target

.PHONY: .npm .viewer .venv .requirements .package .rust-lint .ruff .types
.venv:
	@$(STEP) "virtual environment" tests/tools/venv.sh create

.requirements: .venv
	@$(STEP) "what the tests need (tests/requirements.txt)" tests/tools/venv.sh requirements

.npm:
	@$(STEP) "what the npm package is built with" tests/tools/npm.sh

.viewer: wasm
	@$(STEP) "npm package and viewer" tests/tools/viewer.sh

.package: .requirements .viewer
	@$(STEP) "package from ./python" tests/tools/venv.sh package

.rust-lint:
	@$(STEP) "cargo fmt" cargo fmt --all --check
	@$(STEP) "cargo clippy" cargo clippy --locked --workspace --all-targets -- -D warnings

.ruff: .requirements
	@$(STEP) "ruff check" $(VENV)/bin/ruff check python tests benches
	@$(STEP) "ruff format" $(VENV)/bin/ruff format --check python tests benches

.types:
	@$(STEP) "mypy --strict" $(VENV)/bin/mypy --strict python/deathtensors
	@$(STEP) "stubs against the compiled module" tests/tools/stubtest.sh
