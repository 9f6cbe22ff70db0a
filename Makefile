# Every target prepares what it needs. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
SOURCES := airflow_provider_b24 tests example_dags benchmarks docs noxfile.py
# To `make matrix` it says which Pythons to test; everything else runs on it.
OWN_PYTHON := $(if $(filter matrix,$(MAKECMDGOALS)),python3,$(PYTHON))
ONLY_PYTHON := $(if $(filter file,$(origin PYTHON)),,--python $(PYTHON:python%=%))

# Airflow is many processes, and each would compile all of Airflow again: five seconds instead of two.
export UV_COMPILE_BYTECODE := 1
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test cluster matrix lowest lint format constraints bench screenshots references diagrams docs wheel release clean

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

demo: $(VENV)/.installed  ## Watch a robot call, a DAG work and the process get its answer; KEEP=1 stays up
	@$(BIN)/airflow-b24 demo $(if $(KEEP),--keep)

test: $(VENV)/.installed-dev  ## Run all tests: unit, sandbox portal, real Airflow; ARGS="-k name" selects
	$(BIN)/pytest --numprocesses auto $(ARGS)

matrix: $(VENV)/.installed-dev  ## Run demo and tests on every Airflow (hours); AIRFLOW=3.2.2 PYTHON=python3.12 select
	@$(BIN)/nox --session matrix --tags $(or $(AIRFLOW),release) $(ONLY_PYTHON); code=$$?; \
		$(BIN)/nox --session compatibility && exit $$code

lowest: $(VENV)/.installed-dev  ## Run tests with the lowest versions of everything that the metadata admits
	@$(BIN)/nox --session lowest

cluster: $(VENV)/.installed-dev  ## Kill parts of a distributed Airflow and compare what the portal got; PROCESSES, MINUTES, SEED, PAUSE
	@$(BIN)/python -m tests.cluster

lint: $(VENV)/.installed-dev  ## Check format, style, types and the direction of imports
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## Put the code into its format
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

constraints: $(VENV)/.uv  ## Take the newest versions of everything into constraints.txt
	$(UV) pip compile pyproject.toml --group dev --group release --python-version 3.11 --upgrade --quiet \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file constraints.txt

bench: $(VENV)/.installed-dev  ## Measure what the README's figures say (half an hour)
	@for script in benchmarks/[a-z]*.py; do echo "==> $$script"; $(BIN)/python $$script || exit 1; done

screenshots: $(VENV)/.installed-dev  ## Take the pictures in docs/images, in a real browser (minutes)
	@$(BIN)/python -m tests.screenshots && $(BIN)/python -m tests.screenshots.demo

references: $(VENV)/.installed-dev  ## Write docs/reference anew, which is made of the code
	@$(BIN)/python docs/references.py

diagrams:  ## Draw docs/images/*.svg from docs/diagrams; needs npm and Chromium
	@for source in docs/diagrams/*.mmd; do name=$$(basename $$source .mmd); \
		PUPPETEER_SKIP_DOWNLOAD=1 npm exec --yes --package=@mermaid-js/mermaid-cli@12.2.0 -- mmdc --quiet \
			--puppeteerConfigFile docs/diagrams/browser.json --configFile docs/diagrams/config.json \
			--backgroundColor transparent --svgId $$name --input $$source --output docs/images/$$name.svg \
			&& printf '\n<!-- %s -->\n' "$$(cat $$source docs/diagrams/config.json | sha256sum | cut -d' ' -f1)" \
			>> docs/images/$$name.svg || exit 1; done

docs: $(VENV)/.installed-dev  ## Build the documentation site into build/site; whatever is wrong is an error
	@rm -rf build/site
	$(BIN)/sphinx-build -c docs --fail-on-warning --keep-going --quiet . build/site
	@echo "build/site/index.html"

wheel: $(VENV)/.uv  ## Build the wheel into dist/
	$(UV) build --wheel --quiet --build-constraints constraints.txt --out-dir dist

release: $(VENV)/release/.installed  ## Build a release twice, compare and check it, list what it needs; publishes nothing
	@rm -rf dist build/again
	@for folder in dist build/again; do SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
		$(UV) build --quiet --build-constraints constraints.txt --out-dir $$folder || exit 1; done
	@for file in dist/*.whl dist/*.tar.gz; do cmp $$file build/again/$${file#dist/} || exit 1; done
	$(VENV)/release/bin/twine check --strict dist/*.whl dist/*.tar.gz
	$(VENV)/release/bin/check-wheel-contents dist/*.whl
	@$(UV) pip compile pyproject.toml --constraint constraints.txt --quiet --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links \
		| PYTHONWARNINGS=ignore $(VENV)/release/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-file dist/sbom.json -
	@cd dist && sha256sum *

clean:  ## Delete the virtual environment and everything that was built
	rm -rf $(VENV) .nox dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.uv: constraints.txt
	@echo "==> Virtual environment in $(VENV)"
	@$(OWN_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(OWN_PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@touch $@

$(VENV)/.installed: $(VENV)/.uv pyproject.toml constraints.txt
	@echo "==> The package and Airflow (about 260 MB)"
	@$(UV) pip install --python $(BIN)/python --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "==> What tests and checks need"
	@$(UV) pip install --python $(BIN)/python --constraint constraints.txt --group dev
	@touch $@

# Apart from Airflow: where rfc3987-syntax is, which comes with them, each of its processes takes a second longer to start.
$(VENV)/release/.installed: $(VENV)/.uv pyproject.toml constraints.txt
	@echo "==> What a release is checked with"
	@$(UV) venv --quiet --clear --python $(BIN)/python $(VENV)/release
	@$(UV) pip install --quiet --python $(VENV)/release/bin/python --constraint constraints.txt --group release
	@touch $@
