#!/usr/bin/env bash
# Makes .venv: Python >= 3.11, the dependencies of requirements/lock.txt (by hash) and this package, editable.
# Runs again only when the lock file, pyproject.toml or the interpreter has changed. PYTHON=/path/to/python3 picks one.
set -euo pipefail
cd "$(dirname "$0")/.."
started=$SECONDS
venv=.venv
stamp=$venv/.setup-stamp

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local name
  for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null && new_enough "$name"; then
      "$name" -c 'import sys; print(getattr(sys, "_base_executable", None) or sys.executable)'
      return
    fi
  done
  die "found no Python >= 3.11 (looked for ${PYTHON:-} python3, python3.13, python3.12, python3.11).
  On Debian 12 or newer: apt-get install python3 python3-venv python3-pip; elsewhere set PYTHON=/path/to/python3.11"
}

# venv works only where ensurepip is present, which Debian ships in a package of its own
need_venv() {
  "$1" -c 'import venv, ensurepip' 2>/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing the Debian packages python3-venv and python3-pip"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv python3-pip >/dev/null
  fi
  "$1" -c 'import venv, ensurepip' 2>/dev/null ||
    die "$1 cannot make virtual environments. On Debian, as root: apt-get install python3-venv python3-pip"
}

mkdir -p .local
if command -v flock >/dev/null; then
  exec 9>.local/setup.lock
  flock 9 # two runs at once must not build the same .venv
fi

python=$(find_python)
wanted=$({ echo "$python"; "$python" -VV; cat requirements/lock.txt pyproject.toml; } | sha256sum | cut -d' ' -f1)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x "$venv/bin/python" ]; then
  exit 0
fi

need_venv "$python"
say "making $venv with $("$python" -V) ($python)"
if ! { [ -x "$venv/bin/python" ] && [ "$("$venv/bin/python" -VV 2>/dev/null)" = "$("$python" -VV)" ]; }; then
  rm -rf "$venv"
  "$python" -m venv "$venv"
fi
rm -f "$stamp"
pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input install)
say "installing the locked dependencies (requirements/lock.txt)"
"${pip[@]}" --require-hashes --only-binary :all: -r requirements/lock.txt ||
  "${pip[@]}" --require-hashes -r requirements/lock.txt ||
  die "could not install the locked dependencies; is a package index reachable? See the message above"
say "installing resonate-mq from this folder"
"${pip[@]}" --no-deps --no-build-isolation --editable .
echo "$wanted" >"$stamp"
say "done in $((SECONDS - started)) s"
