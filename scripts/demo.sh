#!/usr/bin/env bash
# From a bare machine to a table: installs, prepares the spoken digits, trains one unified model,
# decodes it at six contexts and prints WER and latency. 15 to 40 minutes on 2 cores.
# Usage: scripts/demo.sh [train.py options]      e.g. --train.num-epochs 2
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
start=$SECONDS
source scripts/setup_env.sh
exp="${EXP_DIR:-exp/digits/unified}"

echo "== 1/4 prepare"
recipes/digits/prepare.sh
echo "== 2/4 train"
python scripts/train.py recipes/digits/unified.toml --exp-dir "$exp" "$@"
echo "== 3/4 decode"
python scripts/decode.py "$exp" --contexts "full 32/256/0 32/256/64 32/256/128 64/256/0 64/256/64"
echo "== 4/4 compare"
python scripts/compare.py "$exp"
echo "finished after $(((SECONDS - start) / 60)) minutes"
