#!/usr/bin/env bash
# Prepares WenetSpeech (10,000 hours of Mandarin): manifests, features, characters.
#
#   recipes/wenetspeech/prepare.sh --corpus-dir DIR [--option value ...]
#
# Stages: 0 manifests, 1 features, 2 token set, 3 check, 4 shards (lhotse Shar; only with --shar
# true or when a stage option says 4).
#
# --stage N, --stop-stage N  run only these stages
# --force                    run stages again that are done
# --corpus-dir DIR           the corpus, as README.md says
# --data-dir DIR             where everything goes (recipes/wenetspeech/data)
# --subset S|M|L             what is trained on (L, all)
# --features on-the-fly|precomputed   on the fly: training computes them, nothing is stored
# --speed-factors 1.0        copies of the training set (precomputed), such as 0.9,1.0,1.1
# --word-pieces N            tokens for Latin words among the characters (500)
# --channel N|mean           which one is heard of files with several, from 0, or their mean
# --max-bad-share X          share of a set that may be damaged before it is an error (0.01)
# --shar true                also write shards, for training from object storage
# --num-jobs N, --seed N
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$recipe/../.." && pwd)
data_dir=$recipe/data
prefix=wenetspeech tokens=lang_char/bpe.model
subset=L word_pieces=500

# shellcheck source-path=SCRIPTDIR/../.. source=local/lib/stages.sh
. "$root/local/lib/stages.sh"
# shellcheck source-path=SCRIPTDIR/../.. source=local/lib/corpus.sh
. "$root/local/lib/corpus.sh"
features=on-the-fly speed_factors=1.0
parse_corpus_options "subset word_pieces" "$@"
prepare_corpus "--characters --word-pieces $word_pieces" --subset "$subset"
