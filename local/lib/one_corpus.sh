# shellcheck shell=bash
# The stages that recipes with one training set share. To be sourced by a prepare.sh after stages.sh,
# when it has set these: prefix (of the manifests PREFIX_cuts_SET), others (the sets beside train, an
# array), manifests and fbank (folders), vocabulary (the token set), num_jobs.
# shellcheck disable=SC2154  # data_dir and what is named above are set by the prepare.sh

# Fills `held_out` with the manifests of the sets beside train in folder $1.
others_in() {
  local name
  held_out=()
  for name in "${others[@]}"; do held_out+=("$1/${prefix}_cuts_$name.jsonl.gz"); done
}

make_features() { # precomputed or on-the-fly, speed factors, seed
  local cuts held_out
  others_in "$manifests"
  cuts=(--cuts "$manifests/${prefix}_cuts_train.jsonl.gz" --shuffle-seed "$3" --out-dir "$fbank"
    --plain-cuts "${held_out[@]}")
  if [ "$1" = on-the-fly ]; then
    python "$repo_root/local/lazy_cuts.py" "${cuts[@]}"
    return
  fi
  if [ "$force" = true ]; then cuts+=(--force); fi
  python "$repo_root/local/compute_fbank.py" "${cuts[@]}" --speed-factors "$2" --num-jobs "$num_jobs"
}

check() {
  local held_out
  others_in "$fbank"
  python "$repo_root/local/validate_manifest.py" --bpe-model "$vocabulary" --load --load-every 100 \
    --skipped "$manifests"/*.skipped.tsv "$fbank"/*.skipped.tsv --out "$data_dir/summary.txt" \
    --tests "${held_out[@]}" -- "$fbank/${prefix}_cuts_train.jsonl.gz"
}
