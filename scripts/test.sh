#!/usr/bin/env bash
# Runs everything that must hold on a fresh machine: style, types, shell scripts, tests.
# Usage: scripts/test.sh [--full] [pytest arguments]
# --full lets the exports hear the whole test set of the digits recipe, not only 20 strings.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/setup_env.sh dev
echo "== ruff"
ruff check .
ruff format --check .
echo "== mypy"
mypy
echo "== shellcheck"
git ls-files '*.sh' .ci/run | xargs shellcheck -x
echo "== pytest"
python -m pytest "$@"
