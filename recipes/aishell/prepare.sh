#!/usr/bin/env bash
# Prepares AISHELL-1 (178 hours of Mandarin): manifests, features, characters.
#
#   recipes/aishell/prepare.sh --corpus-dir DIR [--option value ...]
#
# Stages: 0 manifests, 1 features, 2 token set (characters), 3 check, 4 shards (lhotse Shar; only
# with --shar true or when a stage option says 4).
#
# --stage N, --stop-stage N  run only these stages
# --force                    run stages again that are done
# --corpus-dir DIR           holds data_aishell, as README.md says
# --data-dir DIR             where everything goes (recipes/aishell/data)
# --features precomputed|on-the-fly   on the fly: training computes them, nothing is stored
# --speed-factors 0.9,1.0,1.1   copies of the training set (precomputed)
# --channel N|mean           which one is heard of files with several, from 0, or their mean
# --max-bad-share X          share of a set that may be damaged before it is an error (0.01)
# --shar true                also write shards, for training from object storage
# --num-jobs N, --seed N
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$recipe/../.." && pwd)
data_dir=$recipe/data
prefix=aishell tokens=lang_char/bpe.model

# shellcheck source-path=SCRIPTDIR/../.. source=local/lib/stages.sh
. "$root/local/lib/stages.sh"
# shellcheck source-path=SCRIPTDIR/../.. source=local/lib/corpus.sh
. "$root/local/lib/corpus.sh"
parse_corpus_options "" "$@"
prepare_corpus "--characters"
