#!/usr/bin/env bash
# Tests in headless Chromium: tests/browser.sh FILE … Where it is missing and cannot be installed, says why and ends with 78.
set -euo pipefail
cd "$(dirname "$0")/.."
cannot() { echo "cannot test in a browser: $*" >&2; exit 78; }
if ! command -v chromium > /dev/null; then
    [ "$(id -u)" = 0 ] || cannot "there is no chromium, and installing it needs root"
    command -v apt-get > /dev/null || cannot "there is no chromium, and no apt-get to install it with"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium; } \
        > /tmp/chromium-install.log 2>&1 || cannot "installing it failed: $(tail -n 1 /tmp/chromium-install.log)"
fi
exec uv run pytest -o addopts= -q "$@"
