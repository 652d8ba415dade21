# muntin on a machine that has Python >= 3.11, pip and make: `make demo` and `make test` install into .venv once, then run.
# Another Python: make test PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
JOBS ?= auto

.PHONY: demo test lint format clean

demo: .venv/installed-for-demo  ## the whole Swin V2 story on bundled digits; ends with runs/demo/report.html
	$(BIN)/muntin demo --out runs/demo --overwrite

# One process a core, at most 8: each takes about a gigabyte. In this process alone: make test JOBS=0.
test: .venv/installed-for-test  ## every test that needs neither a GPU nor minutes
	$(BIN)/python -m pytest -m "not slow and not gpu" -n $(JOBS) --maxprocesses 8 --dist worksteal $(ARGS)

lint: .venv/installed-for-test  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed-for-test  ## what lint asks for, done
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## the installation, not your runs
	rm -rf .venv

# pip of $(PYTHON) fills .venv from outside, so a Python without ensurepip (Debian's) is enough; then .venv gets a pip of its own.
INSTALL = $(PYTHON) -m pip --python $(BIN)/python install --quiet -c constraints.txt pip

.venv/installed-for-demo: pyproject.toml constraints.txt | .venv
	$(INSTALL) -e '.[train]'
	touch $@

.venv/installed-for-test: pyproject.toml constraints.txt | .venv
	$(INSTALL) -e '.[train,dev,peers]'
	touch $@ .venv/installed-for-demo

.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "muntin needs Python 3.11 or newer, and '$(PYTHON)' is not: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --without-pip .venv
