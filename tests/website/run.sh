#!/usr/bin/env bash
# Builds the site, then tests it in headless Chromium; ends with 78 where there is none.
set -euo pipefail
cd "$(dirname "$0")/../.."
NO_MKDOCS_2_WARNING=1 uv run --group site mkdocs build --strict --quiet
exec tests/browser.sh tests/website/in_browser.py "$@"
