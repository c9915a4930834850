#!/usr/bin/env bash
# From a bare machine to tables of WER and latency. First the weights of this repository hear spoken
# digits at four contexts, which takes two minutes after the installation. Then the whole way:
# prepares the digits, trains one unified model, decodes it at six contexts.
# Usage: scripts/demo.sh [--train] [train.py options]      e.g. --train.num-epochs 2
#        scripts/demo.sh --serve [serve.py options]        a page to see and hear it, e.g. --port 8000
# In a terminal it stops before the training unless --train, or an option, asks for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
start=$SECONDS
train="" serve=""
if [ "${1:-}" = --serve ]; then
    serve=yes && shift
elif [ $# -gt 0 ] || [ ! -t 1 ]; then
    train=yes
fi
if [ "${1:-}" = --train ]; then shift; fi
source scripts/setup_env.sh "${serve:+serve,export}"
echo "installed after $((SECONDS - start)) s"

if [ -n "$serve" ]; then
    echo "== page: the weights of this repository, open the address in a browser"
    exec python scripts/serve.py tests/assets/digits/model.pt \
        --contexts "32/256/0 32/256/64 32/256/128 32/256/256 64/256/128 full" --open "$@"
fi

echo "== first result: the weights of this repository"
first=exp/digits/shipped
mkdir -p "$first"
cp tests/assets/digits/{model.pt,bpe.model} "$first"
strings=$first/strings/digits_cuts_test.jsonl.gz babble=$first/strings/digits_cuts_test-babble.jsonl.gz
python recipes/digits/make_strings.py --segments recipes/digits/fsdd/segments.tsv \
    --words zero,one,two,three,four,five,six,seven,eight,nine --length 3-8 --set test 0-4 60 \
    --prefix digits --audio-dir "$first/audio" --out-dir "$first/strings"
python recipes/digits/babble.py mix --cuts "$strings" --talkers "$strings" --snr 5 15 \
    --audio-dir "$first/audio/babble" --out "$babble"
python scripts/decode.py "$first" --contexts "full 32/256/0 32/256/64 64/256/0" \
    --sets "clean=$strings,babble=$babble"
python scripts/report.py "$first"
echo "first result after $((SECONDS - start)) s"
if [ -z "$train" ]; then
    echo "Next: ./scripts/demo.sh --serve lets you see and hear it in a browser;"
    echo "      ./scripts/demo.sh --train makes such a model from scratch, in half an hour to an hour."
    exit
fi

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
