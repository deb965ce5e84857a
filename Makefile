# The two commands of a newcomer are `make demo` and `make test`; both install what they need into .venv.
SHELL := /bin/bash
BIN := .venv/bin
PYPROJECTS := $(wildcard libs/*/pyproject.toml services/*/pyproject.toml tools/*/pyproject.toml cli/pyproject.toml client/pyproject.toml)
MINIO := v0.0.0-20260212201848-7aac2a2c5b7c
SOURCES := libs services tools cli client tests deploy scripts

.PHONY: help setup demo test test-fast test-minio chaos fuzz fuzz-stack lint format bench-facility bench-detect lock schemas settings services sbom audit broker-accounts metrics structure english screenshots dashboards clean

help:  ## List what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/ready  ## Install everything into .venv

.venv/ready: requirements.lock $(PYPROJECTS) scripts/setup deploy/h5wasm
	@scripts/setup

demo: setup  ## Run the demo on the embedded stack; FRAMES=folder for recorded frames, KEEP=1 leaves it running
	@$(BIN)/shotwatch demo $(if $(FRAMES),--frames "$(FRAMES)") $(if $(KEEP),--keep)

# The longest groups of tests come first, so that both processes have work until the end.
test: setup  ## Every test, on real servers; of the fault injections only the quick ones
	@$(BIN)/pytest tests/chaos tests/e2e tests/integration tests/fuzz tests/services tests/unit \
	    -n 2 --dist loadgroup --no-loadscope-reorder

test-minio: $(BIN)/minio  ## Test the object store on MinIO, and the path of a shot with notifications from MinIO
	@$(BIN)/pytest tests/integration/test_store.py tests/integration/test_store_accounts.py tests/integration/test_store_notifications.py -m ""

# MinIO publishes neither binaries nor images any more, so Go compiles it, once. This takes minutes.
$(BIN)/minio: | setup
	@PATH="$$PATH:/usr/local/go/bin"; command -v go >/dev/null || { echo "Go is needed: https://go.dev/dl" >&2; exit 1; }; \
	    GOBIN="$(CURDIR)/$(BIN)" go install github.com/minio/minio@$(MINIO)

chaos: setup  ## Every fault injection into the running system (a quarter of an hour); writes docs/chaos.md
	@CHAOS_REPORT=docs/chaos.md $(BIN)/pytest tests/chaos -m "" -n 2 --dist worksteal

fuzz: setup  ## The property tests repeatedly with new seeds, for MINUTES=10; stops at a finding
	@scripts/fuzz "$(or $(MINUTES),10)"

fuzz-stack: setup  ## MUTANTS=300 mutants of snapshot files on a running stack, with good files in between
	@MUTANTS="$(or $(MUTANTS),300)" $(BIN)/pytest tests/fuzz/test_stack.py -m fuzz -s

test-fast: setup  ## Tests to run while you work: every service in memory, and the quick unit tests
	@$(BIN)/pytest tests/services tests/unit -n 2 --dist loadgroup -m "not slow"

lint: setup  ## Style, types, import contracts, structure, English, and what is deployed against its schemas
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/structure.py --check
	@$(BIN)/python scripts/english.py --check
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@$(BIN)/python deploy/check.py

format: setup  ## Format the code
	@$(BIN)/ruff check --fix --quiet $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

bench-facility: setup  ## Drive the embedded stack with the whole facility: MINUTES=2, PACE=1.0 or max; report in build/bench-facility
	@$(BIN)/python -m tools.bench.facility --minutes $(or $(MINUTES),2) --pace $(or $(PACE),1.0)

bench-detect: setup  ## Measure the detector: SIZE=full, FRAMES=folder and UNSEEN=file or folder of recorded frames
	@$(BIN)/shotwatch benchmark --size $(or $(SIZE),small) $(if $(FRAMES),--frames "$(FRAMES)") $(if $(UNSEEN),--unseen "$(UNSEEN)")

schemas: setup  ## Write the JSON Schemas of events and messages to docs/schemas
	@$(BIN)/python scripts/schemas.py

settings: setup  ## Write docs/settings.md from the settings of all services
	@$(BIN)/python scripts/settings.py

services: setup  ## Write what other files repeat of the table of services: Compose, Kubernetes, secrets, scrape targets, rights
	@$(BIN)/python scripts/services.py

broker-accounts: setup  ## Write docs/broker-accounts.md: what each account of the broker may do
	@$(BIN)/python scripts/broker_accounts.py

metrics: setup  ## Write docs/metrics.md
	@$(BIN)/python scripts/metrics.py

screenshots: setup  ## Write the pictures of the page /search to docs
	@SCREENSHOTS=docs $(BIN)/pytest tests/integration/test_query_page.py -k fits_each_screen

notebook: setup  ## Write docs/researchers.ipynb from docs/researchers.md
	@$(BIN)/python scripts/notebook.py

structure: setup  ## Print what is wrong with the structure of the code, and write docs/structure.md
	@$(BIN)/python scripts/structure.py

english: setup  ## Print what is wrong with the English, and lower the baseline to it
	@$(BIN)/python scripts/english.py

dashboards: setup  ## Write Grafana's dashboards to deploy/grafana/dashboards
	@PYTHONPATH=deploy/grafana $(BIN)/python -m shotwatch_dashboards

lock: setup  ## Resolve the dependencies of all packages again
	@scripts/lock

sbom: setup  ## Write build/sbom.json (CycloneDX): what is in requirements.lock
	@mkdir -p build
	@$(BIN)/uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements.lock --output-reproducible -o build/sbom.json

audit: setup  ## Ask PyPI for known vulnerabilities of the packages in requirements.lock; fails without an answer
	@$(BIN)/uv tool run pip-audit==2.10.1 --requirement requirements.lock --disable-pip --require-hashes --strict

clean:  ## Delete the virtual environment and the data of the embedded stacks
	rm -rf .venv .shotwatch
