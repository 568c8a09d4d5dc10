# Every target starts from a bare clone with Python 3.11 and make. PYTHON names one that
# scripts/find_python.sh does not find by itself.
CORES ?= all

VENV := .venv
BIN := $(VENV)/bin
UV := uv==0.13.9
# The environment is made again when these texts change, or the clone's place.
ENVIRONMENT := $(shell (pwd; cat requirements.lock pyproject.toml) | cksum | tr ' ' '-')
STAMP := $(VENV)/made-$(ENVIRONMENT)
# The documents' site has packages of its own.
DOCS := .venv-docs
SMK := Snakefile workflow/Snakefile workflow/rules/*.smk

export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := src
export NO_MKDOCS_2_WARNING := 1

.PHONY: certify docs faults fresh-machine env peers run reproduce notebook publish check test networks versions lint bench lock documents pictures numbers proofs

env: $(STAMP)

$(STAMP):
	@python=$$(sh scripts/find_python.sh "$(PYTHON)") || exit 1; \
	  echo "Installing the locked packages into $(VENV) (6 GB), with $$python ..."; \
	  "$$python" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(UV)
	@# Compiled here, or every job would do it where Python may not write its caches.
	$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python \
	  requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	rm -f $(VENV)/made-*
	touch $@

# Libraries whose networks and training loops the tests try (50 MB), beside the locked packages.
PEERS := $(VENV)/peers
peers: env $(PEERS)/made

$(PEERS)/made: tests/networks/requirements.lock | $(STAMP)
	rm -rf $(PEERS)
	$(BIN)/uv pip install --quiet --no-deps --require-hashes --python $(BIN)/python \
	  --target $(PEERS) --requirement $<
	touch $@

# CONFIG names another profile than the default, which DVC's stages and the published hashes are of;
# NUMERICS another way to compute than the profile's.
OPTIONS := $(strip $(if $(CONFIG),--configfile $(CONFIG)) \
  $(if $(NUMERICS),--config numerics=$(NUMERICS)))

run: env
	python scripts/run.py --cores $(CORES) $(OPTIONS)
	$(if $(OPTIONS),,$(if $(wildcard .git),dvc repro --quiet,\
	  @echo "No .git here: dvc repro, which needs it, is left out."))

reproduce: run
	python -m bnblind receipt $(if $(CONFIG),--configfile $(CONFIG))

# Make this run the published one.
publish: run
	python -m bnblind receipt --record $(if $(CONFIG),--configfile $(CONFIG))

# The notebook of a page, live, in JupyterLab: NAME=purity. WITH names another program.
notebook: env
	python -m bnblind notebook $(NAME) $(if $(WITH),--with "$(WITH)") \
	  $(if $(CONFIG),--configfile $(CONFIG))

# Three processes on two cores: a third of the time they wait for what they have started.
test: env peers
	python -m pytest --dist worksteal \
	  --numprocesses "$$(python -c 'import os; print(os.cpu_count() * 3 // 2)')"

# The library on every network of tests/networks, of which `make test` tries a sample.
networks: env peers
	NETWORKS=all python -m pytest tests/networks -q

# The library's tests on the oldest torch and the newest Python; goes on where it was.
versions: env
	python scripts/versions.py runs/versions

# The quick loop: all tests that start no other interpreter.
check: lint
	python -m pytest -m "not starts_interpreter" -q

lint: env
	ruff check .
	ruff format --check .
	snakefmt --check $(SMK)
	snakemake --lint
	mypy
	python scripts/documents.py --check
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

# Needs Coq, and no Python package; COQCHK=1 also runs Coq's second checker.
proofs:
	$(or $(PYTHON),python3) proofs/check.py $(if $(COQCHK),--coqchk)

bench: env
	python -m bnblind.numerics x86-64-v3 1 python benchmarks/norms.py
	python benchmarks/engine.py
	python scripts/documents.py benchmarks
	python -m bnblind.numerics x86-64-v3 1 python benchmarks/training.py
	python benchmarks/plan.py
	python scripts/usage.py

# make reproduce on a bare Debian, made on the spot: needs root and mmdebstrap.
fresh-machine:
	bash scripts/fresh_machine.sh

# Kill the smoke run at random points and repeat it; goes on where it was. An hour or two.
faults: env
	python scripts/faults.py runs/faults

# Vary what must not matter and compare every byte; goes on where it was. Half an hour.
certify: env
	python scripts/certify.py runs/certificate

# Refresh the locks to the newest versions that pyproject.toml allows: the project's; what some tests
# need beside it, which changes none of it; the documents'.
LOCKED := uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11
lock: env
	$(LOCKED) --extra pipeline --extra dev --output-file requirements.lock pyproject.toml
	$(LOCKED) --custom-compile-command "make lock" --constraint requirements.lock \
	  $$(sed -n 's/^\([a-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements.lock) \
	  --output-file tests/networks/requirements.lock tests/networks/requirements.in
	$(LOCKED) --group docs --output-file docs/requirements.lock

$(DOCS)/made: docs/requirements.lock
	@python=$$(sh scripts/find_python.sh "$(PYTHON)") || exit 1; "$$python" -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet $(UV)
	$(DOCS)/bin/uv pip sync --quiet --require-hashes --python $(DOCS)/bin/python docs/requirements.lock
	touch $@

# The documents as a site, in site/: fails on a link that leads nowhere. SITE_URL is where it will be
# published, below the report.
docs: $(DOCS)/made
	SOURCE_DATE_EPOCH=0 $(DOCS)/bin/python -m mkdocs build --clean --quiet

# Refresh what the documents say of the declarations and schemas.
documents: env
	python scripts/documents.py

# Refresh the pictures and numbers of README.md and docs/results.md from a finished run.
pictures: env
	mkdir -p docs/images
	snakemake --rulegraph --quiet all | python scripts/rulegraph.py docs/images/rulegraph.svg
	cp reports/figures/classification/digits-accuracies.svg docs/images/classification.svg
	cp reports/figures/causes/digits-head-lr0.01.svg docs/images/causes.svg
	cp reports/figures/derivatives/readings.svg docs/images/derivatives.svg
	python scripts/documents.py results

# Whether README.md and docs/results.md say what the last run found.
numbers: env
	python scripts/documents.py results --check
