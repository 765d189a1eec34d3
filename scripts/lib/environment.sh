# shellcheck shell=bash
# Makes the Python environment of a script. To be sourced:
#
#   . "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"
#   environment .venv aws,gcp,agent,dev        # a directory under the repository, and the project's extras
#   "$VENV/bin/python" -m pytest
#
# Sets ROOT (the repository) and VENV (the environment), both absolute; VENV has no space in it. Where it can't go on, it
# prints one line that says what to do, and exits with 1. Where PYTHON is set, that interpreter is taken and no other is
# looked for.

ROOT=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)

# What would make another Python out of ours, or put its packages elsewhere.
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP PIP_TARGET PIP_PREFIX PIP_ROOT
export PIP_USER=0

# Everything started here talks to servers on this machine: a proxy must not catch that. Some programs read the one
# spelling and some the other, so both are set, to what was there and the loopback names.
loopback_without_proxy() {
  local now=${no_proxy:-${NO_PROXY:-}} host
  [ "$now" = '*' ] || for host in 127.0.0.1 localhost ::1; do
    case ",$now," in *",$host,"*) ;; *) now=${now:+$now,}$host ;; esac
  done
  export no_proxy=$now NO_PROXY=$now
}
loopback_without_proxy

# fail WHAT: the one line, to stderr.
fail() {
  printf '%s: %s\n' "scripts/$(basename -- "$0")" "$1" >&2
  exit 1
}

# interpreter: the path of a Python that runs (a pyenv shim of a version that is not chosen does not), is new enough
# and can make environments.
interpreter() {
  local candidate found='' broken=''
  local -a candidates=(python3.14 python3.13 python3.12 python3.11 python3)
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    "$candidate" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 11))' </dev/null >/dev/null 2>&1 || continue
    # In an active environment the name leads there; what it was made of is wanted.
    found=$("$candidate" -I -S -c 'import sys, venv, ssl; print(sys._base_executable)' </dev/null 2>/dev/null) && break
    found=''
    broken=$candidate
  done
  if [ -n "$found" ]; then
    printf '%s\n' "$found"
  elif [ -n "$broken" ]; then
    fail "$broken has no venv or no ssl module; on Debian and Ubuntu: apt-get install python3 python3-venv"
  elif [ -n "${PYTHON:-}" ]; then
    fail "PYTHON=$PYTHON is no Python 3.11 or newer that runs; name another, or unset PYTHON to have one looked for"
  else
    fail "no Python 3.11 or newer runs here (looked for python3.14 down to python3.11, and python3); on Debian and Ubuntu: apt-get install python3 python3-venv"
  fi
}

# spaceless PATH: another name for a directory, without a space. The first line of a launcher names the interpreter, and
# the kernel ends that name at the first space.
spaceless() {
  local directory=${XDG_CACHE_HOME:-~/.cache}/pullpass name
  name=$directory/$(printf '%s' "$1" | cksum | tr ' ' -)
  case $name in *[[:space:]]*) fail "$1 and $directory have spaces in them: set XDG_CACHE_HOME to a path that has none" ;; esac
  [ "$(readlink -- "$name")" = "$1" ] || { mkdir -p -- "$directory" && ln -sfn -- "$1" "$name"; } ||
    fail "$directory can't be written: make it writable, or set XDG_CACHE_HOME"
  printf '%s\n' "$name"
}

# environment DIRECTORY EXTRAS [--lowest]: makes it or keeps it, and sets VENV.
environment() {
  local base
  base=$(interpreter) || exit 1
  PULLPASS_SCRIPT=scripts/$(basename -- "$0") \
    "$base" -I "$ROOT/scripts/lib/environment.py" "${@:3}" -- "$ROOT" "$1" "$2" </dev/null || exit 1
  VENV=$ROOT/$1
  case $VENV in *[[:space:]]*) VENV=$(spaceless "$VENV") || exit 1 ;; esac
}
