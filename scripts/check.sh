#!/usr/bin/env bash
# Format, lint, types and import rules: everything about the code that needs no running. Says how long each took.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=()

step() {
  local name=$1 started=$SECONDS
  shift
  printf 'check: %s\n' "$name"
  if "$@"; then
    printf 'check: %s is fine (%s s)\n' "$name" $((SECONDS - started))
  else
    printf 'check: %s FAILED (%s s)\n' "$name" $((SECONDS - started))
    failed+=("$name")
  fi
}

step format .venv/bin/ruff format --check --quiet .
step lint .venv/bin/ruff check --quiet .
step types .venv/bin/mypy --strict --no-error-summary resonate_mq tests transports scripts
step imports .venv/bin/lint-imports --no-logo --no-cache

if [ ${#failed[@]} -gt 0 ]; then
  printf 'check: failed: %s (total %s s)\n' "${failed[*]}" "$SECONDS"
  exit 1
fi
printf 'check: all fine in %s s\n' "$SECONDS"
