# One obvious command for each habit. `make demo` and `make test` do all the set-up on a fresh machine.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# 2.13.0 by exact version: plain `torch` would bring gigabytes of GPU libraries.
TORCH ?= torch==2.13.0
export OMP_NUM_THREADS ?= 1

.PHONY: install demo console test test-full lint unit simulate crash fuzz mutate-checks audit bench vectors catalogues fonts docs clean

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "1/5 installing (1.5 GB, once)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[partner,server,postgresql,demo,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps MoleculeACE==3.0.0
	$(BIN)/python -m privacy.selfcheck
	@touch $@

install: $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/python -m deploy.demo

console: $(VENV)/.installed
	$(BIN)/python -m deploy.demo console

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.installed
	$(BIN)/pytest -n 3 -m "not full"

test: lint unit

# What `make test` leaves out: browsers, PostgreSQL, the demo, whole sieges, more seeds. A file stays in one process,
# for its fixtures are dear; xdist 3.8's groups would say so by test, but pytest 9.2 does not let it mark them.
test-full: lint
	$(BIN)/pytest -n 3 --dist loadfile -rs -m full

# Whole rounds under faults, by seed: make simulate SEEDS=20000 FIRST=0
SEEDS ?= 200
FIRST ?= 0
simulate: $(VENV)/.installed
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --first $(FIRST)

# Real processes, killed at random moments: make crash KILLS=100
KILLS ?= 100
crash: $(VENV)/.installed
	$(BIN)/python -m tests.system.crash --kills $(KILLS)

# Each numbered check of the protocol disabled in turn, in a copy: an attack must get through.
mutate-checks: $(VENV)/.installed
	$(BIN)/python -m tests.attacks.mutate

# Known flaws, licences and a bill of materials of what is installed: red too where nothing could be checked.
audit: $(VENV)/.installed
	$(BIN)/python -m deploy.audit

# Parsers, routes and forms under altered input, by coverage and from the document: make fuzz SECONDS=600
SECONDS ?= 60
fuzz: $(VENV)/.installed
	$(BIN)/python -m tests.fuzzing --seconds $(SECONDS)
	FUZZ_EXAMPLES=200 $(BIN)/pytest tests/fuzzing/test_openapi_fuzz.py tests/fuzzing/test_console_forms.py

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks

vectors: $(VENV)/.installed
	$(BIN)/python -m tests.vectors

catalogues: $(VENV)/.installed
	$(BIN)/python -m tests.catalogues

# The reports' type, again, from where PROVENANCE.md says; fails where a byte differs.
fonts:
	rm -rf build/fonts && mkdir -p build/fonts
	cd build/fonts && npm pack --silent pretendard@1.3.9 && tar xzf pretendard-1.3.9.tgz
	cp build/fonts/package/dist/public/static/Pretendard-{Regular,SemiBold}.otf build/fonts/package/dist/LICENSE.txt privacy/report/fonts/
	sed -nE 's/^\| ([A-Za-z.-]+) \| dist.* \| ([0-9a-f]{64}) \|$$/\2  privacy\/report\/fonts\/\1/p' privacy/report/fonts/PROVENANCE.md | sha256sum -c

docs: $(VENV)/.installed
	$(BIN)/python -m aggregator.api.openapi docs/openapi.json

clean:
	rm -rf out build *.egg-info
