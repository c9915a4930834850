#!/usr/bin/env bash
# Runs everything that must hold on a fresh machine: style, types, shell scripts, tests.
# Usage: scripts/test.sh [--full] [pytest arguments]
# --full also runs the tests that take minutes, and lets the exports hear the whole test set of the
# digits recipe, not only 12 strings. -n sets the number of processes that share the tests.
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
# A browser opens the page of scripts/report.py. Without one those tests are skipped, which CI must
# not do: Debian's is small enough to install where that can be done without asking anyone.
if [ -z "${CHROME:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null &&
    ! command -v chromium chromium-browser google-chrome google-chrome-stable chrome > /dev/null; then
    echo "== chromium"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install -y --no-install-recommends chromium; } > /dev/null 2>&1 ||
        echo "it cannot be installed here"
fi
echo "== pytest"
# A thread for each process: two that share two cores would wait for each other. A file of tests
# stays in one process, so that what its tests share is made once.
OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadscope --no-loadscope-reorder "$@"
