# shellcheck shell=bash
# Stages of data preparation. A prepare.sh sources this file after `set -euo pipefail`:
#
#   data_dir=$recipe/data num_jobs=2             # options and their defaults
#   . "$root/local/lib/stages.sh"
#   parse_options "data_dir num_jobs" "$@"       # --data-dir DIR --num-jobs N, and those below
#   stage 0 "download" fetch_corpus "$corpus_dir"
#   stage 1 "features" python local/compute_fbank.py --cuts ... --out ...
#
# Options that every prepare.sh has:
#   --stage N --stop-stage M   run the stages N to M only
#   --force                    run them even if they are done
#
# A finished stage leaves $data_dir/.done/N, which holds its command. It is skipped the next time,
# unless its command has changed; whatever runs makes the later stages run again.

stage=0
stop_stage=1000
force=false

repo_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PYTHONPATH="$repo_root${PYTHONPATH:+:$PYTHONPATH}"

log() { printf '%s %s\n' "$(date '+%H:%M:%S')" "$*"; }

die() {
  log "ERROR: $*" >&2
  exit 1
}

# Nothing can be prepared without the environment.
need_python() {
  command -v python >/dev/null || die "no python in PATH: activate the environment (scripts/setup_env.sh makes it)"
}

# one_of NAME VALUE...: the variable must hold one of the values.
one_of() {
  local name=$1 value
  shift
  for value in "$@"; do
    if [ "${!name}" = "$value" ]; then return 0; fi
  done
  die "--${name//_/-} ${!name}: expected one of: $*"
}

# The absolute path of a folder that must be there.
absolute() { (cd "$1" 2>/dev/null && pwd) || die "no folder $1"; }

# Prints the comment at the head of the prepare.sh.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$0"; }

# parse_options "names of variables" "$@": --some-name VALUE sets the variable some_name.
parse_options() {
  local allowed=" $1 stage stop_stage " dashed name
  dashed=" ${1//_/-} stage stop-stage"
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help)
        usage
        exit 0
        ;;
      --force)
        force=true
        shift
        continue
        ;;
      --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
    esac
    name=${1#--}
    name=${name//-/_}
    case $1/$allowed in
      --*/*" $name "*) ;;
      *) die "unknown option $1; there are: --force${dashed// / --}" ;;
    esac
    [ $# -ge 2 ] || die "option $1 needs a value"
    printf -v "$name" '%s' "$2"
    shift 2
  done
}

# ready CONFIG: says that all is there, and what comes next.
# shellcheck disable=SC2154  # data_dir and recipe are set by the prepare.sh
ready() {
  log "ready: $data_dir"
  if [ "$data_dir" = "$recipe/data" ]; then
    log "next: python scripts/train.py ${recipe#"$repo_root"/}/$1"
  else
    log "next: copy ${recipe#"$repo_root"/}/$1, let its paths data/... begin with $data_dir/..., and train with it"
  fi
}

# in_turn N: whether stage N is among those to be run.
in_turn() { [ "$1" -ge "$stage" ] && [ "$1" -le "$stop_stage" ]; }

# skip N "title" "why": says that stage N has nothing to do.
skip() {
  if in_turn "$1"; then log "stage $1: $2: $3, skipped"; fi
}

# stage N "title" command...: runs the command if it is its turn and it is not done.
# shellcheck disable=SC2154  # data_dir is set by the prepare.sh
stage() {
  local number=$1 title=$2 marker status other
  shift 2
  in_turn "$number" || return 0
  mkdir -p "$data_dir/.done"
  marker=$data_dir/.done/$number
  if [ "$force" = false ] && [ -f "$marker" ] && [ "$(cat "$marker")" = "$*" ]; then
    log "stage $number: $title: done before, skipped"
    return 0
  fi
  log "stage $number: $title"
  for other in "$data_dir/.done"/*; do # what comes later builds on this stage
    if [ -f "$other" ] && [ "${other##*/}" -ge "$number" ]; then rm -f "$other"; fi
  done
  # A subshell outside of any condition, so that `set -e` holds inside a command that is a function.
  set +e
  (
    set -e
    "$@"
  )
  status=$?
  set -e
  if [ "$status" -eq 130 ]; then # Ctrl-C
    log "stage $number ($title) was interrupted; the same command goes on here" >&2
    exit 130
  fi
  if [ "$status" -ne 0 ]; then
    die "stage $number ($title) failed; the same command continues here once it is mended"
  fi
  echo "$*" >"$data_dir/.done/.unfinished"
  mv "$data_dir/.done/.unfinished" "$marker"
}
