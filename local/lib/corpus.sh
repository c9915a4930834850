# shellcheck shell=bash
# What the preparations of corpora share. A prepare.sh sets `recipe`, `root`, `data_dir`, and
#
#   prefix=tedlium                            # of the manifests, and name of the reader, tedlium.py
#   tokens=lang_bpe/bpe.model                 # the token set, in the folder of the data
#
# sources stages.sh and this file, and ends with:
#
#   parse_corpus_options "vocab_size" "$@"    # its own options, and those below
#   prepare_corpus "--vocab-size 500" [options of its reader]
#
# Sets whose names begin with `train` (or are mini-train) are trained on, the others are not.
# shellcheck disable=SC2154  # what is named above, and what stages.sh has set

corpus_dir="" channel=""
features=precomputed speed_factors=0.9,1.0,1.1 seed=42 max_bad_share=0.01 shar=false
num_jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
first_stage=0 # the one that reads the corpus
limits=() # of validate_manifest.py, where the config has others than it
manifests=$data_dir/manifests fbank=$data_dir/fbank
commands=$repo_root/local

# parse_corpus_options "names of further variables" "$@"
parse_corpus_options() {
  parse_options "data_dir corpus_dir channel features speed_factors max_bad_share shar seed num_jobs $1" "${@:2}"
  need_python
  one_of features precomputed on-the-fly
  one_of shar true false
  manifests=$data_dir/manifests fbank=$data_dir/fbank
}

# Fills `train` and `others` with the manifests in folder $1 of the sets that the reader has found.
find_sets() {
  local name
  train=() others=()
  [ -f "$manifests/sets.txt" ] || die "no $manifests/sets.txt: run stage $first_stage first"
  while read -r name; do
    case $name in
      train* | mini-train) train+=("$1/${prefix}_cuts_$name.jsonl.gz") ;;
      *) others+=("$1/${prefix}_cuts_$name.jsonl.gz") ;;
    esac
  done <"$manifests/sets.txt"
}

read_corpus() { # corpus, max bad share, options of the reader
  python "$recipe/$prefix.py" --corpus-dir "$1" --max-bad-share "$2" --out-dir "$manifests" \
    --num-jobs "$num_jobs" "${@:3}"
}

make_features() { # precomputed or on-the-fly, speed factors, seed
  local cuts
  find_sets "$manifests"
  cuts=(--cuts ${train[@]+"${train[@]}"} --plain-cuts ${others[@]+"${others[@]}"})
  if [ -f "$manifests/musan_cuts.jsonl.gz" ]; then cuts+=("$manifests/musan_cuts.jsonl.gz"); fi
  cuts+=(--shuffle-seed "$3" --out-dir "$fbank")
  if [ "$1" = on-the-fly ]; then
    python "$commands/lazy_cuts.py" "${cuts[@]}"
    if [ -d "$fbank/feats" ]; then log "not used any more: $(du -sh "$fbank/feats")"; fi
    return
  fi
  if [ "$force" = true ]; then cuts+=(--force); fi
  python "$commands/compute_fbank.py" "${cuts[@]}" --speed-factors "$2" --num-jobs "$num_jobs"
}

make_tokens() { # model, options of train_bpe.py
  find_sets "$manifests"
  python "$commands/train_bpe.py" --cuts "${train[@]}" --out "$1" "${@:2}"
}

check() { # options of validate_manifest.py
  find_sets "$fbank"
  python "$commands/validate_manifest.py" "$@" ${limits[@]+"${limits[@]}"} --num-jobs "$num_jobs" \
    --out "$data_dir/summary.txt" --skipped "$manifests"/*.skipped.tsv "$fbank"/*.skipped.tsv \
    --tests ${others[@]+"${others[@]}"} -- ${train[@]+"${train[@]}"}
}

make_shards() {
  find_sets "$fbank"
  python "$commands/to_shar.py" --cuts ${train[@]+"${train[@]}"} ${others[@]+"${others[@]}"} \
    --out-dir "$data_dir/shar" --num-jobs "$num_jobs"
}

# shards N: stage N, if it is asked for.
shards() {
  if [ "$shar" = true ] || [ "$stage" = "$1" ] || [ "$stop_stage" = "$1" ]; then
    stage "$1" "shards" make_shards
  else
    skip "$1" "shards" "not asked for (--shar true)"
  fi
}

# prepare_corpus "options of train_bpe.py" [options of the recipe's reader]: all stages.
prepare_corpus() {
  local corpus="" how_to_make_tokens
  read -r -a how_to_make_tokens <<<"$1"
  if in_turn 0; then
    [ -n "$corpus_dir" ] || die "--corpus-dir is missing: README.md says where the corpus comes from"
    corpus=$(absolute "$corpus_dir")
  fi
  stage 0 "manifests" read_corpus "$corpus" "$max_bad_share" ${channel:+--channel "$channel"} "${@:2}"
  stage 1 "features" make_features "$features" "$speed_factors" "$seed"
  stage 2 "token set" make_tokens "$data_dir/$tokens" "${how_to_make_tokens[@]}"
  stage 3 "check" check --bpe-model "$data_dir/$tokens" --load --load-every 100
  shards 4
  if [ "$stop_stage" -ge 3 ] && [ -f "$data_dir/summary.txt" ]; then cat "$data_dir/summary.txt"; fi
  ready medium.toml
}
