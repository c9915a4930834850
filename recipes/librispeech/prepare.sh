#!/usr/bin/env bash
# Prepares LibriSpeech, or whatever parts of it are there: manifests, features, token set.
#
#   recipes/librispeech/prepare.sh [--option value ...]
#
# Stages: 0 download, 1 manifests, 2 MUSAN, 3 features, 4 validation, 5 token set (BPE),
# 6 shards (lhotse Shar; only with --shar true or when a stage option says 6).
#
# --stage N, --stop-stage N  run only these stages
# --force                    run stages again that are done
# --data-dir DIR             where everything goes (recipes/librispeech/data)
# --corpus-dir DIR           LibriSpeech as it is on your disk (.flac, .wav, .opus, .ogg or .mp3);
#                            without it stage 0 downloads it: 61 GB, and as much again unpacked
# --musan-dir DIR            MUSAN as it is on your disk, or: download, none (the default is
#                            download if the corpus is downloaded, else none)
# --parts "A B"              only these parts; by default all that are there, and of the download
#                            all but the small ones (train-clean-5, dev-clean-2)
# --features precomputed|on-the-fly   on the fly: training computes them, nothing is stored
# --speed-factors 0.9,1.0,1.1   copies of the training sets (precomputed)
# --vocab-size N             tokens (500)
# --shar true                also write shards, for training from object storage
# --num-jobs N               processes (all cores)
# --max-bad-share X          share of a part that may be damaged before it is an error (0.01)
# --mirror URL, --seed N
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$recipe/../.." && pwd)
data_dir=$recipe/data prefix=librispeech
musan_dir="" parts=""
vocab_size=500
mirror=https://www.openslr.org

# shellcheck source-path=SCRIPTDIR/../.. source=local/lib/stages.sh
. "$root/local/lib/stages.sh"
# shellcheck source-path=SCRIPTDIR/../.. source=local/lib/corpus.sh
. "$root/local/lib/corpus.sh"
parse_options "data_dir corpus_dir musan_dir parts features speed_factors vocab_size shar num_jobs max_bad_share mirror seed" "$@"
need_python
one_of features precomputed on-the-fly
one_of shar true false
manifests=$data_dir/manifests
fbank=$data_dir/fbank
first_stage=1
limits=(--min-seconds 1 --max-seconds 20 --max-dropped-share 0.2) # as in the configs

fetched=$data_dir/download archives=()
if [ -n "$corpus_dir" ]; then
  corpus=$(absolute "$corpus_dir")
  musan=${musan_dir:-none}
else
  corpus=$fetched/LibriSpeech
  musan=${musan_dir:-download}
  read -r -a archives <<<"${parts:-train-clean-100 train-clean-360 train-other-500 dev-clean dev-other test-clean test-other}"
fi
case $musan in
  none) ;;
  download) archives+=(musan) ;;
  *) musan=$(absolute "$musan") ;;
esac

make_manifests() { # corpus, max bad share, parts...
  local wanted=("${@:3}")
  python "$recipe/librispeech.py" --corpus-dir "$1" --out-dir "$manifests" --num-jobs "$num_jobs" \
    --max-bad-share "$2" --parts ${wanted[@]+"${wanted[@]}"}
}

make_vocabulary() { # vocabulary size
  local model=$data_dir/lang_bpe_$1/bpe.model exact="" names
  find_sets "$manifests"
  case ${train[*]+"${train[*]}"} in
    *cuts_train-*) exact=yes ;; # fewer tokens than asked for would be a mistake
    *)
      if [ ${#train[@]} -eq 0 ]; then train=("${others[@]}"); fi
      names=${train[*]##*cuts_}
      log "WARNING: no training part; the token set is made of the text of: ${names//.jsonl.gz/}"
      ;;
  esac
  python "$commands/train_bpe.py" --cuts "${train[@]}" --vocab-size "$1" ${exact:+--exact} \
    --out "$model"
  check --bpe-model "$model"
}

if [ ${#archives[@]} -gt 0 ]; then
  stage 0 "download" python "$commands/download.py" "${archives[@]}" --to "$fetched" \
    --table "$recipe/archives.tsv" --mirror "$mirror"
else
  skip 0 "download" "the corpus is $corpus"
fi
# shellcheck disable=SC2086  # one argument a part
stage 1 "manifests" make_manifests "$corpus" "$max_bad_share" $parts
if [ "$musan" = none ]; then
  skip 2 "MUSAN" "no --musan-dir; to train with a config that mixes it in: --noise none"
else
  if [ "$musan" = download ]; then musan=$fetched/musan; fi
  stage 2 "MUSAN" python "$commands/noise_cuts.py" --audio-dir "$musan" --prefix musan \
    --out "$manifests/musan_cuts.jsonl.gz" --num-jobs "$num_jobs"
fi
stage 3 "features" make_features "$features" "$speed_factors" "$seed"
stage 4 "validation" check --load --load-every 100
stage 5 "token set" make_vocabulary "$vocab_size"
shards 6
if [ "$stop_stage" -ge 4 ] && [ -f "$data_dir/summary.txt" ]; then cat "$data_dir/summary.txt"; fi
ready medium.toml
