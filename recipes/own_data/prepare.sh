#!/usr/bin/env bash
# Prepares a corpus of your own: a table of audio files and texts becomes manifests, features and a
# token set.
#
#   recipes/own_data/prepare.sh --tsv corpus.tsv [--option value ...]
#
# The table: tabs between columns, a first line that names them: audio, text, and if you have them
# speaker, split (train, valid, test), id. Paths are relative to the table.
#
# Stages: 0 manifests, 1 features, 2 token set, 3 check.
#
# --stage N, --stop-stage N  run only these stages
# --force                    run stages again that are done
# --data-dir DIR             where everything goes (recipes/own_data/data)
# --audio-dir DIR            what the paths in the table are relative to, if not its folder
# --channel N|mean           which channel is heard of files with several, counted from 0, or
#                            their mean; without it they are left out
# --text-form as-is|upper|lower   how texts are written
# --split-by auto|speaker|text    what the sets are held apart by, if there is no column split
#                            (auto: speaker with ten or more of them, else text)
# --held-out X               share of the utterances for valid, and again for test (0.05)
# --features precomputed|on-the-fly   on the fly: training computes them, nothing is stored
# --speed-factors 0.9,1.0,1.1   copies of the training set (precomputed)
# --vocab-size N             tokens (200), or as many as the text carries if that is fewer
# --max-bad-share X          share of bad lines before it is an error (0.01)
# --num-jobs N, --seed N
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$recipe/../.." && pwd)
data_dir=$recipe/data prefix=own
tsv="" audio_dir="" text_form=as-is split_by=auto held_out=0.05
vocab_size=200

# shellcheck source-path=SCRIPTDIR/../.. source=local/lib/stages.sh
. "$root/local/lib/stages.sh"
# shellcheck source-path=SCRIPTDIR/../.. source=local/lib/corpus.sh
. "$root/local/lib/corpus.sh"
parse_options "data_dir tsv audio_dir channel text_form split_by held_out features speed_factors vocab_size seed max_bad_share num_jobs" "$@"
need_python
one_of features precomputed on-the-fly
manifests=$data_dir/manifests
fbank=$data_dir/fbank
vocabulary=$data_dir/lang_bpe/bpe.model

table=(--tsv "$tsv" --text-form "$text_form" --split-by "$split_by" --held-out "$held_out"
  --seed "$seed" --max-bad-share "$max_bad_share")
if [ -n "$audio_dir" ]; then table+=(--audio-dir "$(absolute "$audio_dir")"); fi
if [ -n "$channel" ]; then table+=(--channel "$channel"); fi
if in_turn 0; then
  [ -f "$tsv" ] || die "--tsv ${tsv:-is missing: give a table of audio files and texts}${tsv:+: no such file}"
  content=$(cksum <"$tsv") # a changed table is read again
fi

make_manifests() { # checksum of the table, options
  python "$recipe/tsv_corpus.py" "${@:2}" --out-dir "$manifests" --num-jobs "$num_jobs"
}

stage 0 "manifests" make_manifests "${content:-}" "${table[@]}"
stage 1 "features" make_features "$features" "$speed_factors" "$seed"
stage 2 "token set" make_tokens "$vocabulary" --vocab-size "$vocab_size"
stage 3 "check" check --bpe-model "$vocabulary" --load --load-every 100
if [ "$stop_stage" -ge 3 ] && [ -f "$data_dir/summary.txt" ]; then cat "$data_dir/summary.txt"; fi
ready small.toml
