#!/usr/bin/env bash
# Sets up libtorch for the build, and with `full` the Python libraries of the reference tests.
#
#   scripts/setup.sh lean    torch without its dependencies: what the program needs (1.3 GB on disk)
#   scripts/setup.sh full    the same folder, completed for the tests and for GPUs (4.9 GB on disk)
#
# The folder lies in the user's cache under the hash of its pins; `.venv` is a link to it, so that clones share it. With LIBTORCH set
# to an existing libtorch 2.11 nothing is fetched for `lean`.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-lean}
wanted=2.11

fail() { # sentence, remedy
  printf 'error: %s\n  hint: %s\n' "$1" "$2" >&2
  exit 1
}

# Everything that the build needs from the system, named at once with its install line.
missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need g++ g++
need make make
need cmake cmake
need nasm nasm
need python3 python3
if command -v python3 >/dev/null 2>&1 && ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then missing+=(python3-venv); fi
if [ ${#missing[@]} -gt 0 ]; then
  fail "this machine lacks ${missing[*]}" "sudo apt-get install -y ${missing[*]}"
fi
command -v cargo >/dev/null 2>&1 || fail "this machine lacks Rust (cargo)" "install it with rustup, see https://rustup.rs, then open a new shell"
rust=$(rustc --version | cut -d' ' -f2)
least=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if [ "$(printf '%s\n%s\n' "$least" "$rust" | sort -V | head -n 1)" != "$least" ]; then
  fail "this machine has Rust $rust; the build needs $least or newer" "rustup update stable"
fi

version_of() { # folder of a libtorch, either a wheel's `torch` or an unpacked archive
  cat "$1/build-version" 2>/dev/null || sed -n "s/^__version__ = '\(.*\)'/\1/p" "$1/version.py" 2>/dev/null || true
}

if [ -n "${LIBTORCH:-}" ]; then
  found=$(version_of "$LIBTORCH")
  case "$found" in
    "$wanted".*) ;;
    "") fail "LIBTORCH names $LIBTORCH, which is no libtorch" "unset LIBTORCH to have it fetched, or name a folder with lib/ and include/" ;;
    *) fail "LIBTORCH names libtorch $found; the build needs $wanted" "unset LIBTORCH to have the right one fetched" ;;
  esac
  if [ "$what" = lean ]; then exit 0; fi
fi

python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case "$python" in
  3.1[1-4]) ;;
  *) fail "python3 is $python; torch $wanted has no wheel for it" "install Python 3.11 to 3.14, or set LIBTORCH to an unpacked libtorch $wanted" ;;
esac

key=$(cat scripts/requirements-lean.txt scripts/requirements-full.txt <(echo "$python $(uname -m)") | sha256sum | cut -c1-16)
cache=${SMALTI_CACHE:-off}
# `off` is a cache without proxies and images; the environment has to lie somewhere.
[ "$cache" != off ] || cache=${XDG_CACHE_HOME:-$HOME/.cache}/smalti
home=$cache/venv-$key
mkdir -p "$cache"

# Two set-ups at once take turns; the second finds everything done.
exec 9>"$cache/setup.lock"
flock 9

install() { # arguments of pip install
  "$home/bin/python" -m pip install --quiet --disable-pip-version-check --progress-bar off "$@" >&2 && return
  fail "the Python packages could not be fetched (see above)" \
    "check the network and run make again, or set LIBTORCH to an unpacked libtorch $wanted"
}

if [ ! -e "$home/lean.done" ]; then
  echo "setup    fetching libtorch $wanted (about 540 MB, once) into $home" >&2
  rm -rf "$home"
  python3 -m venv "$home"
  install --no-deps -r scripts/requirements-lean.txt
  ln -sfn "lib/python$python/site-packages/torch" "$home/libtorch"
  touch "$home/lean.done"
fi
if [ "$what" = full ] && [ ! -e "$home/full.done" ]; then
  echo "setup    fetching the libraries of the reference tests (about 3.4 GB on disk, once) into $home" >&2
  install -r scripts/requirements-full.txt
  touch "$home/full.done"
fi
if [ "$(readlink .venv 2>/dev/null || true)" != "$home" ]; then
  if [ -e .venv ] && [ ! -L .venv ]; then fail ".venv is here and is not a link of ours" "move it away"; fi
  ln -sfn "$home" .venv
fi
