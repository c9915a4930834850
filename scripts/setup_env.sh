#!/usr/bin/env bash
# Creates .venv in the checkout and installs zipformer into it, once per change of the requirements.
# Usage: source scripts/setup_env.sh [extras]      e.g. "dev"
# PYTHON chooses the interpreter (default python3; 3.11 or newer).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
extras="${1:-}"
python="${PYTHON:-python3}"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: $("$python" --version) is too old, Python 3.11 or newer is needed; set PYTHON=/path/to/python" >&2
    exit 1
}
[ -x "$root/.venv/bin/python" ] || {
    echo "creating $root/.venv"
    "$python" -m venv "$root/.venv"
}
wanted="$(cat "$root/pyproject.toml" "$root/constraints.txt" | sha256sum | cut -d' ' -f1) ${extras}"
if [ "$(cat "$root/.venv/installed-${extras:-base}" 2>/dev/null)" != "$wanted" ]; then
    echo "installing zipformer${extras:+ with [$extras]} (a few minutes the first time)"
    # torch comes first and by its exact version, so that nothing pulls another build of it.
    "$root/.venv/bin/pip" install --quiet --disable-pip-version-check "$(grep '^torch==' "$root/constraints.txt")"
    # Before it was renamed, this project was installed as zipformer, the name of another project.
    "$root/.venv/bin/pip" uninstall --yes -qq --disable-pip-version-check zipformer
    "$root/.venv/bin/pip" install --quiet --disable-pip-version-check -c "$root/constraints.txt" -e "$root${extras:+[$extras]}"
    echo "$wanted" > "$root/.venv/installed-${extras:-base}"
fi
export PATH="$root/.venv/bin:$PATH"
