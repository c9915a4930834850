#!/usr/bin/env bash
# Prepares AISHELL-1 (178 hours of Mandarin): manifests, features, characters.
#
#   recipes/aishell/prepare.sh --corpus-dir DIR [--option value ...]
#
# Stages: 0 manifests, 1 features, 2 token set (characters), 3 check.
#
# --stage N, --stop-stage N  run only these stages
# --force                    run stages again that are done
# --corpus-dir DIR           holds data_aishell, as README.md says
# --data-dir DIR             where everything goes (recipes/aishell/data)
# --features precomputed|on-the-fly   on the fly: training computes them, nothing is stored
# --speed-factors 0.9,1.0,1.1   copies of the training set (precomputed)
# --max-bad-share X          share of a set that may be damaged before it is an error (0.01)
# --num-jobs N, --seed N
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$recipe/../.." && pwd)
data_dir=$recipe/data
corpus_dir=""
features=precomputed speed_factors=0.9,1.0,1.1 seed=42 max_bad_share=0.01
num_jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

# shellcheck source-path=SCRIPTDIR/../.. source=local/lib/stages.sh
. "$root/local/lib/stages.sh"
parse_options "data_dir corpus_dir features speed_factors max_bad_share seed num_jobs" "$@"
need_python
one_of features precomputed on-the-fly
local=$root/local
manifests=$data_dir/manifests
fbank=$data_dir/fbank
vocabulary=$data_dir/lang_char/bpe.model
prefix=aishell others=(dev test)
# shellcheck source-path=SCRIPTDIR/../.. source=local/lib/one_corpus.sh
. "$root/local/lib/one_corpus.sh"
if in_turn 0; then
  [ -n "$corpus_dir" ] || die "--corpus-dir is missing: README.md says where the corpus comes from"
  corpus=$(absolute "$corpus_dir")
fi

stage 0 "manifests" python "$recipe/aishell.py" --corpus-dir "${corpus:-}" --out-dir "$manifests" \
  --num-jobs "$num_jobs" --max-bad-share "$max_bad_share"
stage 1 "features" make_features "$features" "$speed_factors" "$seed"
stage 2 "token set" python "$local/train_bpe.py" --characters \
  --cuts "$manifests/aishell_cuts_train.jsonl.gz" --out "$vocabulary"
stage 3 "check" check
if [ "$stop_stage" -ge 3 ] && [ -f "$data_dir/summary.txt" ]; then cat "$data_dir/summary.txt"; fi
ready medium.toml
