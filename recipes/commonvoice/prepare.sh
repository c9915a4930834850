#!/usr/bin/env bash
# Prepares one language of Common Voice: manifests, features, token set.
#
#   recipes/commonvoice/prepare.sh --corpus-dir DIR [--option value ...]
#
# Stages: 0 manifests, 1 features, 2 token set, 3 check, 4 shards (lhotse Shar; only with --shar
# true or when a stage option says 4).
#
# --stage N, --stop-stage N  run only these stages
# --force                    run stages again that are done
# --corpus-dir DIR           the corpus, as README.md says
# --data-dir DIR             where everything goes (recipes/commonvoice/data)
# --language NAME            its folder, such as cy or zh-TW
# --features precomputed|on-the-fly   on the fly: training computes them, nothing is stored
# --speed-factors 0.9,1.0,1.1   copies of the training set (precomputed)
# --tokens-are pieces|characters   (characters for Chinese and Japanese, else pieces of words)
# --vocab-size N             pieces (500)
# --channel N|mean           which one is heard of files with several, from 0, or their mean
# --max-bad-share X          share of a set that may be damaged before it is an error (0.01)
# --shar true                also write shards, for training from object storage
# --num-jobs N, --seed N
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$recipe/../.." && pwd)
data_dir=$recipe/data
prefix=commonvoice tokens=lang/bpe.model
language="" tokens_are="" vocab_size=500

# shellcheck source-path=SCRIPTDIR/../.. source=local/lib/stages.sh
. "$root/local/lib/stages.sh"
# shellcheck source-path=SCRIPTDIR/../.. source=local/lib/corpus.sh
. "$root/local/lib/corpus.sh"
parse_corpus_options "language tokens_are vocab_size" "$@"
case $language in
  zh-* | yue | nan-* | ja) tokens_are=${tokens_are:-characters} ;;
  *) tokens_are=${tokens_are:-pieces} ;;
esac
one_of tokens_are pieces characters
token_options="--vocab-size $vocab_size"
if [ "$tokens_are" = characters ]; then token_options="--characters"; fi
prepare_corpus "$token_options" ${language:+--language "$language"}
