#!/usr/bin/env bash
# Writes requirements/lock.txt anew from pyproject.toml: newest versions that fit, for every platform, with hashes.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=.local/tools
if [ ! -x "$tools/bin/uv" ]; then
  printf 'lock: installing uv into %s\n' "$tools"
  "${PYTHON:-python3}" -m venv "$tools"
  "$tools/bin/python" -m pip --quiet --disable-pip-version-check install uv
fi
"$tools/bin/uv" pip compile --quiet --universal --generate-hashes --upgrade --python-version 3.11 --all-extras \
  --no-emit-index-url --no-header --no-annotate --output-file requirements/lock.txt pyproject.toml
printf 'lock: %s packages in requirements/lock.txt\n' "$(grep -c '^[a-z].*==' requirements/lock.txt)"
