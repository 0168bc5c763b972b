# `make demo` runs the study in small on the bundled synthetic faces, `make study` with all twelve networks,
# `make test` the tests. Each sets up everything it needs in .venv (given: git, make, Python >= 3.11).

PYTHON ?= python3
PRESET ?= demo
WORKERS ?= 2
VENV := .venv
READY := $(VENV)/ready
READY_TO_TEST := $(VENV)/ready-to-test
# Python compiles what is imported, when it is: most of what is installed never is.
INSTALL = $(VENV)/bin/python -m pip install --quiet --no-compile --constraint constraints.txt --editable

.PHONY: demo study test docs clean
.DEFAULT_GOAL := demo

# Two models at a time, each on one core: faster than one on both. What is done is skipped.
demo: $(READY)
	$(VENV)/bin/python tools/run_notebooks.py --preset $(PRESET) --scheduler local:$(WORKERS) --one-kernel

study:
	$(MAKE) demo PRESET=small

# Each process gets whole files of tests, so that what a file's tests share is made once.
test: $(READY_TO_TEST)
	TF_NUM_INTRAOP_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder \
	  --junit-xml=results/tests.xml
	@echo "Test report: results/tests.xml"

# The site of docs/, with API pages from the docstrings: open results/docs/index.html.
docs: $(READY_TO_TEST)
	$(VENV)/bin/python -m sphinx -b html -W --keep-going -q -d results/docs/.cache docs results/docs

$(READY): requirements.txt constraints.txt pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	         "Name another one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) ".[cluster,offline]"
	@touch $@

$(READY_TO_TEST): $(READY)
	$(INSTALL) ".[test]"
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info
