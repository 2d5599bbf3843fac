#!/usr/bin/env bash
# The tests of the workflow on a real SLURM. Where a SLURM cannot be started (no root, no Debian, no namespaces), says why and
# ends with 78.
set -euo pipefail
cd "$(dirname "$0")/../.."
environment=$(uv run python -c 'import sys; print(sys.prefix)')
export PATH="$environment/bin:$PATH"
exec tests/slurm/cluster.sh python -m pytest tests/slurm/on_cluster.py tests/slurm/dead_ends.py -o addopts= -v -x -rP --durations=0 "$@"
