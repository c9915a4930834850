#!/usr/bin/env bash
# Prepares strings of spoken digits: audio, features, token set.
#
#   recipes/digits/prepare.sh [--option value ...]
#
# Stages: 0 strings, 1 babble, 2 features, 3 token set, 4 check.
#
# --stage N, --stop-stage N  run only these stages
# --force                    run stages again that are done
# --data-dir DIR             where everything goes (recipes/digits/data)
# --fsdd-dir DIR             a clone of the Free Spoken Digit Dataset (its recordings/ is read)
#                            instead of the copy in this folder
# --num-train, --num-short, --num-dev, --num-test, --num-noise N   strings of 3 to 8 digits, strings
#                            of 1 or 2 for training, and cuts of babble for training
# --speed-factors 0.9,1.0,1.1   copies of the training set
# --vocab-size N, --seed N, --num-jobs N
#
# A smoke test: --num-train 60 --num-short 40 --num-dev 10 --num-test 20 --num-noise 5
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$recipe/../.." && pwd)
data_dir=$recipe/data
fsdd_dir=""
num_train=800 num_short=600 num_dev=100 num_test=740 num_noise=100
speed_factors=0.9,1.0,1.1
vocab_size=29
seed=42
num_jobs=2

# shellcheck source-path=SCRIPTDIR/../.. source=local/lib/stages.sh
. "$root/local/lib/stages.sh"
parse_options "data_dir fsdd_dir num_train num_short num_dev num_test num_noise speed_factors vocab_size seed num_jobs" "$@"
local=$root/local
audio=$data_dir/audio
raw=$data_dir/manifests
fbank=$data_dir/fbank
digits=zero,one,two,three,four,five,six,seven,eight,nine

if [ -n "$fsdd_dir" ]; then
  [ -d "$fsdd_dir/recordings" ] || die "$fsdd_dir has no folder recordings: is it a clone of the dataset?"
  source=(--recordings "$fsdd_dir/recordings" --pattern "{digit}_{speaker}_{take}.wav")
else
  source=(--segments "$recipe/fsdd/segments.tsv")
fi

# The short strings are for training alone: they show early what a digit is, and what silence is.
strings() { # train, short, dev, test, source...
  local options=("${@:5}" --words "$digits" --prefix digits --audio-dir "$audio" --out-dir "$raw")
  python "$recipe/make_strings.py" "${options[@]}" --length 3-8 --seed "$seed" \
    --set train 10-49 "$1" --set dev 5-9 "$3" --set test 0-4 "$4"
  python "$recipe/make_strings.py" "${options[@]}" --length 1-2 --seed "$((seed + 1))" \
    --edge 0.1,1.5 --set train-short 10-49 "$2"
}

# Test strings over other people's test strings; for training, babble of the training strings alone.
babble() {
  python "$recipe/babble.py" mix --cuts "$raw/digits_cuts_test.jsonl.gz" \
    --talkers "$raw/digits_cuts_test.jsonl.gz" --snr 5 15 --seed "$seed" \
    --audio-dir "$audio/test-babble" --out "$raw/digits_cuts_test-babble.jsonl.gz"
  python "$recipe/babble.py" noise --talkers "$raw/digits_cuts_train.jsonl.gz" \
    --count "$1" --seconds 10 --seed "$seed" --prefix digits-noise \
    --audio-dir "$audio/noise" --out "$raw/digits_cuts_noise.jsonl.gz"
}

features() { # speed factors
  # Every bit is kept, so that the results are the same with lilcom and without.
  local options=(--storage numpy_files --num-jobs "$num_jobs" --out-dir "$fbank")
  python "$local/compute_fbank.py" --cuts "$raw"/digits_cuts_train{,-short}.jsonl.gz \
    --speed-factors "$1" --shuffle-seed "$seed" "${options[@]}"
  python "$local/compute_fbank.py" --cuts "$raw"/digits_cuts_{dev,test,test-babble,noise}.jsonl.gz \
    "${options[@]}"
}

check() {
  python "$local/validate_manifest.py" --bpe-model "$data_dir/lang_bpe/bpe.model" \
    "$fbank"/digits_cuts_{train,train-short,dev,test,test-babble}.jsonl.gz
}

stage 0 "strings of digits" strings "$num_train" "$num_short" "$num_dev" "$num_test" "${source[@]}"
stage 1 "babble" babble "$num_noise"
stage 2 "features" features "$speed_factors"
stage 3 "token set" python "$local/train_bpe.py" --vocab-size "$vocab_size" \
  --cuts "$raw/digits_cuts_train.jsonl.gz" --out "$data_dir/lang_bpe/bpe.model"
stage 4 "check" check
ready unified.toml
