#!/usr/bin/env bash
# Runs in the working directory of the workflow: installs the pinned packages and this package into the environment.
set -euo pipefail
pip install --require-hashes --no-deps -r requirements.txt
pip install --no-deps --no-build-isolation -e .
