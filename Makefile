# `make` alone and `make help` say what there is.
# Two commands for a fresh machine with Python 3.11 or newer, pip and make:
#   make study   the embedded study, offline, ending with the path of its report
#   make test    the tests that every change needs (make test-all: all of them; make test-processors: those that
#                compute, as other processors would)
# The rest is for working on chemsieve. VENV, PYTHON and CORES can be set on the command line.
VENV ?= .venv
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
RUN = $(VENV)/bin/python -m
export OMP_WAIT_POLICY ?= passive
export GOMP_SPINCOUNT ?= 0
# Snakemake keeps a cache below HOME; where that is not to be written to, here.
ifneq ($(shell test -w "$$HOME" && echo yes),yes)
export XDG_CACHE_HOME ?= $(CURDIR)/.snakemake/cache
export XDG_CONFIG_HOME ?= $(CURDIR)/.snakemake/config
endif

.PHONY: help study test test-slow test-all test-processors env check reference format lock audit sbom docs clean

help:
	@echo "make study       the environment, then the embedded study, offline; ends with the path of its report"
	@echo "make env         the environment alone, with the command $(VENV)/bin/chemsieve for studies of your own:"
	@echo "                   $(VENV)/bin/chemsieve init my_target.csv my_pool.csv"
	@echo "make test        the tests that every change needs (test-slow: the long ones; test-all: all of them)"
	@echo "make check       style, types and the workflow's own checks (format: applies them)"
	@echo "make reference   config.yaml, its schema and the pages that are made from the code"
	@echo "make lock        renews the lock files (audit: known vulnerabilities; sbom: a bill of materials)"
	@echo "make docs        the documents as a site"
	@echo "make clean       removes the environment and caches"

study: env
	$(RUN) snakemake --cores $(CORES) all
	@echo "report: $(CURDIR)/results/embedded/report.html"

# A process a core; one that has no tests left takes over some of another's, so that the longest file keeps none waiting.
PARALLEL = --numprocesses $(CORES) --dist worksteal

test: env
	$(RUN) pytest $(PARALLEL) -m "not slow"

# What it leaves out: whole runs of the workflow, kills, the browser.
test-slow: env
	$(RUN) pytest $(PARALLEL) -m slow

# Both in one run, which makes the finished study that they share once.
test-all: env
	$(RUN) pytest $(PARALLEL)

# What computes, with the kernels of other processors: torch and oneDNN kept to AVX2 and two threads, and to no vector
# extensions; the tiny study so, to its report; and its influence after training in bfloat16, and in two threads.
AVX2 = ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=2
PLAIN = ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41
COMPUTING = $(patsubst %,tests/test_%.py,molformer methods dropout influence gram kernel training pretraining)
TINY = $(RUN) snakemake --cores $(CORES) --configfile studies/tiny.yaml --config on_failure=stop
SOLVED = tables/influence_diagnostics.parquet

test-processors: env
	$(PLAIN) $(TINY) study=tiny_plain -- all
	$(TINY) study=tiny_bfloat16 'mlm={precision: bfloat16}' 'finetune={precision: bfloat16}' \
		-- results/tiny_bfloat16/$(SOLVED)
	$(AVX2) $(TINY) study=tiny_avx2 'compute={threads: 2}' -- results/tiny_avx2/$(SOLVED)
	$(PLAIN) $(RUN) pytest $(PARALLEL) $(COMPUTING)
	$(AVX2) $(RUN) pytest $(PARALLEL) $(COMPUTING)

env: $(VENV)/.installed $(VENV)/bin/chemsieve

# Torch comes first and without hashes: which of its builds is right (CPU, CUDA, ROCm) depends on the machine.
$(VENV)/.installed: requirements.lock requirements-hashes.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "chemsieve needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --disable-pip-version-check "$$(grep -o '^torch==[0-9.]*' requirements.lock)"
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-hashes.lock
	@touch $@

# The package is not installed, so that it is never older than the checkout: the command finds it there.
$(VENV)/bin/chemsieve: $(VENV)/.installed Makefile
	@printf '%s\n' '#!/bin/sh' 'here=$$(CDPATH= cd -- "$$(dirname -- "$$0")" && pwd)' \
		'PYTHONPATH="$(CURDIR)/workflow_scripts$${PYTHONPATH:+:$$PYTHONPATH}" exec "$$here/python" -m chemsieve "$$@"' > $@
	@chmod +x $@

# Style and the workflow's own checks (the tests run them too).
check: env
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy workflow_scripts/chemsieve
	$(RUN) snakefmt --check Snakefile rules
	$(REFERENCE) --check
	$(RUN) snakemake --lint
	$(TABLES) --check docs/tables.md

# What follows from declarations in the code: config.yaml, the JSON Schema for editors and docs/configuration.md, from the
# models in chemsieve/study/sections; docs/tables.md, from chemsieve/tables/declared.
REFERENCE = PYTHONPATH=workflow_scripts $(RUN) chemsieve.study.reference
TABLES = PYTHONPATH=workflow_scripts $(RUN) chemsieve.tables.reference

reference: env
	$(REFERENCE)
	$(TABLES) docs/tables.md

format: env
	$(RUN) ruff check --fix .
	$(RUN) ruff format .
	$(RUN) snakefmt Snakefile rules

# Renew the lock file and what agrees with it: the hashes of its packages (by uv, which takes them from the index without
# downloading files) and the conda environment. A local build of torch is written without its local label, so that the
# lock installs from any index.
lock: env
	$(RUN) piptools compile --quiet --upgrade --extra dev --extra tracking --strip-extras --no-header --annotation-style line \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file requirements.lock pyproject.toml
	sed -i.bak 's/^\(torch==[0-9.]*\)+[a-z0-9]*/\1/' requirements.lock && rm requirements.lock.bak
	$(PYTHON) -m venv build/uv
	build/uv/bin/pip install --quiet --disable-pip-version-check uv
	grep -v '^torch==' requirements.lock | sed 's/ *#.*//' \
		| build/uv/bin/uv pip compile --quiet --no-deps --generate-hashes --universal --python-version 3.11 \
		--no-header --no-annotate --output-file requirements-hashes.lock -
	$(RUN) piptools compile --quiet --extra cluster --constraint requirements.lock --strip-extras --no-header \
		--no-annotate --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--output-file requirements-all.lock pyproject.toml
	sed 's/ *#.*//' requirements.lock | grep -vxF -f - requirements-all.lock \
		| grep -v -e '^torch==' -e '^#' > requirements-cluster.lock
	rm requirements-all.lock
	$(VENV)/bin/python envs/write.py

# Known vulnerabilities of the pinned versions, by pip-audit in an environment of its own. It asks an advisory service on
# the network; strict, so that a package it knows nothing of is no success.
audit:
	$(PYTHON) -m venv build/audit
	build/audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	build/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement requirements.lock

# A software bill of materials of the pinned versions (CycloneDX), build/sbom.json.
sbom:
	$(PYTHON) -m venv build/sbom
	build/sbom/bin/pip install --quiet --disable-pip-version-check cyclonedx-bom
	build/sbom/bin/cyclonedx-py requirements --output-reproducible --output-file build/sbom.json requirements.lock

# The documents as a site, build/site/index.html, by MkDocs. A link that leads nowhere fails.
docs:
	$(PYTHON) -m venv build/docs
	build/docs/bin/pip install --quiet --disable-pip-version-check 'mkdocs>=1.6,<2'
	rm -rf build/pages
	mkdir -p build/pages/benchmarks build/pages/resources/encoder
	cp -R *.md LICENSE Dockerfile config.yaml docs studies build/pages
	cp -R benchmarks/results build/pages/benchmarks
	cp resources/encoder/README.md build/pages/resources/encoder
	cp resources/config.schema.json build/pages/resources
	build/docs/bin/mkdocs build --strict
	@echo "documents: $(CURDIR)/build/site/index.html"

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
