#!/usr/bin/env bash
# From a bare machine to a table: installs, prepares the spoken digits, trains one unified model,
# decodes it at several contexts and prints WER and latency. 15 to 30 minutes on 2 cores.
# Usage: scripts/demo.sh [train.py options]      e.g. --train.num-epochs 2
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
start=$SECONDS
source scripts/setup_env.sh
exp="${EXP_DIR:-exp/digits/unified}"
with_right="32/256/64 32/256/128 32/256/256 64/256/64 64/256/128 64/256/256"

echo "== 1/4 prepare"
recipes/digits/prepare.sh
echo "== 2/4 train"
python scripts/train.py recipes/digits/unified.toml --exp-dir "$exp" "$@"
echo "== 3/4 decode"
python scripts/decode.py "$exp" --contexts "full 32/256/0 64/256/0"
python scripts/decode.py "$exp" --contexts "$with_right" --right-mode windowed,masked
echo "== 4/4 compare"
python scripts/compare.py "$exp"
echo "finished after $(((SECONDS - start) / 60)) minutes"
