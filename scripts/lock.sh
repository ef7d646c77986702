#!/usr/bin/env bash
# Renews requirements-dev.lock: one file for every Python from 3.11 on and every platform.
#
#   scripts/lock.sh                    take the newest versions of everything
#   scripts/lock.sh --keep             only add what is missing (after a new dependency)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lock=requirements-dev.lock
upgrade=(--upgrade)
if [ "${1:-}" = --keep ]; then upgrade=(); fi

# Nothing about where packages came from goes into the lock: it must work with any index.
.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev --group docs \
    --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
    "${upgrade[@]}" --output-file "$lock" pyproject.toml
if grep -nE '://|^-|@ ' "$lock"; then
    echo "lock: the lines above name an address, a path or an option; $lock must hold versions only" >&2
    exit 1
fi
