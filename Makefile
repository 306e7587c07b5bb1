# The verbs for developers. `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8000
# Python compiles a module when it is first imported. Importing the heavy ones while installing makes
# the first command as fast as the next.
HEAVY := matplotlib.figure, mlflow.sklearn, polars, pyarrow.csv, skops.io, sqlglot.optimizer.scope, xgboost
INSTALLED := .venv/.installed
TOOLS := .venv/.tools
# Apache Spark brings the module pyspark, which clashes with that of pyspark-client.
SPARK := .venv-spark/.installed
# Feast, only for comparisons, pins a world of its own.
FEAST := .venv-feast/.installed
# Dagster, only to try the guide on scheduling.
DAGSTER := .venv-dagster/.installed

unexport PYTHONDONTWRITEBYTECODE

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Create .venv with what the reference project needs, pinned

setup: $(TOOLS) ## Create .venv with the pinned dependencies and the tools for developers

demo: $(INSTALLED) ## Run the reference project from raw flights to predictions
	$(BIN)/slh demo examples/nyc_flights

test: $(TOOLS) $(SPARK) postgres chromium ## Run the tests
	$(BIN)/pytest --numprocesses 2 --dist loadfile --max-worker-restart 0

test-faults: $(TOOLS) ## Kill, crowd and starve the lake: the long version of tests/faults
	$(BIN)/pytest tests/faults tests/lake/test_interoperability.py tests/models/test_pending.py --faults-kills 100 --faults-appends 50

test-conformance: $(TOOLS) $(SPARK) ## Hold every engine to the point-in-time rules, in 20,000 cases each
	$(BIN)/pytest tests/conformance tests/spark/test_conformance.py --conformance-cases 20000

test-soak: $(TOOLS) ## Ask a server for five minutes, and with 300 requests of each kind
	$(BIN)/pytest tests/serving/test_soak.py tests/serving/test_fuzz.py --soak-seconds 300

test-spark: $(TOOLS) $(SPARK) ## Run the pipeline tests on Apache Spark
	$(BIN)/pytest tests/spark --spark-suite

test-docs: $(TOOLS) $(DAGSTER) chromium ## Execute every page of the documentation, and look at each in a browser
	$(BIN)/pytest tests/docs --docs-every-page

docs: $(TOOLS) ## Build the documentation site into docs/_build/html
	$(BIN)/sphinx-build --builder html --nitpicky --fail-on-warning --keep-going docs docs/_build/html

docs-serve: docs ## Show the documentation site, on port 8000 or PORT
	@echo "The documentation is at http://127.0.0.1:$(PORT) (Ctrl-C stops)."
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory docs/_build/html >/dev/null 2>&1

check: $(TOOLS) ## Check style, types and the layers of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

diagrams: $(TOOLS) ## Draw docs/diagrams again from its descriptions
	$(BIN)/python docs/diagrams/generate.py

terminal: $(TOOLS) ## Run the demo, and draw what it prints
	$(BIN)/python docs/diagrams/terminal.py

format: $(TOOLS) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

feast: $(FEAST) ## Put Feast into .venv-feast, to compare with

dagster: $(DAGSTER) ## Put Dagster into .venv-dagster, in which test-docs runs the guide's definitions

bench: $(TOOLS) $(SPARK) $(FEAST) ## Run the benchmarks
	$(BIN)/python benchmarks/demo.py
	-$(BIN)/python benchmarks/manifest.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/increment.py
	$(BIN)/python benchmarks/expectations.py
	$(BIN)/python benchmarks/point_in_time.py
	$(BIN)/python benchmarks/load_df.py
	$(BIN)/python benchmarks/training_sets.py
	$(BIN)/python benchmarks/trace.py
	$(BIN)/python benchmarks/tracking.py
	$(BIN)/python benchmarks/serving.py --project examples/nyc_flights

clean: ## Remove what the demo wrote, and the documentation site
	rm -rf docs/_build docs/reference examples/nyc_flights/landing examples/nyc_flights/warehouse examples/nyc_flights/mlflow.db examples/nyc_flights/mlartifacts examples/nyc_flights/.slh

# The tests start a PostgreSQL of their own. Who may not install it sees them skipped, and why.
postgres:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null \
		|| test "$$(id -u)" != 0 || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql)

# A browser looks at the documentation. Who may not install it sees these tests skipped, and why.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
		|| test "$$(id -u)" != 0 || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[examples]'
	$(BIN)/python -c 'import $(HEAVY)'
	@touch $@

# pip takes PyTorch's build for the CPU where there is one; uv would take gigabytes of CUDA.
$(TOOLS): $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt torch safetensors
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(SPARK): constraints.txt $(INSTALLED)
	$(PYTHON) -m venv .venv-spark
	$(BIN)/uv pip install --quiet --python .venv-spark/bin/python --constraint constraints.txt pandas pydantic 'pyspark[pipelines]'
	@touch $@

$(FEAST): constraints-feast.txt $(INSTALLED)
	$(PYTHON) -m venv .venv-feast
	$(BIN)/uv pip install --quiet --python .venv-feast/bin/python --constraint constraints-feast.txt 'feast[duckdb]'
	@touch $@

$(DAGSTER): $(INSTALLED)
	$(PYTHON) -m venv .venv-dagster
	$(BIN)/uv pip install --quiet --python .venv-dagster/bin/python dagster==1.13.28
	@touch $@

.PHONY: help install setup demo test postgres chromium test-faults test-conformance test-soak test-spark test-docs docs docs-serve check format feast dagster bench clean diagrams terminal
