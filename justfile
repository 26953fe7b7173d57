# The developer's commands; `uv run just` lists them. `.ci/run` runs the same checks in a fresh clone.

_default:
    @just --list --unsorted

# Install everything a developer needs, and the commit hooks
setup:
    uv sync --locked
    uv run pre-commit install

# Lint, format, types and import contracts
check:
    uv run ruff check
    uv run ruff format --check
    uv run mypy
    uv run lint-imports

# The default test suite; further arguments go to pytest
test *arguments:
    uv run pytest {{ arguments }}

# Tests that take minutes, and those on real data (SNELLEN_SHARED, default ../shared)
test-slow *arguments:
    uv run pytest -m "slow or acceptance" {{ arguments }}

# Build the site into site/; warnings are errors
docs:
    NO_MKDOCS_2_WARNING=1 uv run mkdocs build --strict

# Run one benchmark, for example: just bench self_correlation --json out.json
bench name *arguments:
    uv run python benchmarks/{{ name }}.py {{ arguments }}

# The whole story on embedded data, offline
demo *arguments:
    uv run snellen demo {{ arguments }}
