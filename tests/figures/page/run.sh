#!/usr/bin/env bash
# The tests of the HTML page in headless Chromium; ends with 78 where there is none.
exec "$(dirname "$0")/../../browser.sh" tests/figures/page/in_browser.py "$@"
