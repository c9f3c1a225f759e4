set export

NO_MKDOCS_2_WARNING := "1"

# `just` lists these. Each is one line that can be typed as well.

default:
    @just --list

# all tests; servers are fetched and started when first needed
test *arguments:
    uv run pytest {{arguments}}

# tests that need no server, no package builds, no mutants
quick:
    uv run pytest -m "not integration and not slow and not mutants"

# take each rule out of the code: a test must notice
mutants:
    uv run pytest tests/mutants

# ten thousand simulated lives of the processors of the tests, in two processes
simulate seeds="10000":
    uv run python -m streamkit.testing.simulation tests.simulation.processors:ALL --seeds {{seeds}} --processes 2

# what CI runs
ci:
    .ci/run

lint:
    uv run --group lint ruff check && uv run --group lint ruff format --check

format:
    uv run --group lint ruff check --fix && uv run --group lint ruff format

types:
    uv run --group lint mypy --strict streamkit plugins/*/streamkit_*

imports:
    uv run --group lint lint-imports

# write the generated reference pages anew, then build the site
docs:
    uv run docs/generate.py && uv run --group docs mkdocs build --strict

# the site at 127.0.0.1:8000, rebuilt on every change
serve:
    uv run --group docs mkdocs serve

demo *arguments:
    uv run streamkit demo {{arguments}}

# streamkit beside the raw client, on a real Kafka; prints the table of docs/performance.md
bench *arguments:
    uv run --group bench benchmarks/kafka.py {{arguments}}
