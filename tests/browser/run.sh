#!/bin/bash
# run.sh : the live page of the cities example in a real browser, over plain HTTP and over HTTP/2: each protocol shows what happens,
# and goes on when the server was restarted. Needs Node.js 20, and Debian's Chromium, which it installs; its driver is kept
# in ~/.cache/harper-tests. HARPER_SCREENSHOT=FILE keeps a picture of the page.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${HARPER_TEST_CACHE:-$HOME/.cache/harper-tests}/browser

if ! command -v chromium >/dev/null; then
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
if ! cmp -s "$here/package-lock.json" "$cache/package-lock.json" || ! [ -d "$cache/node_modules" ]; then
  mkdir -p "$cache"
  cp "$here/package.json" "$here/package-lock.json" "$cache"
  npm ci --silent --prefix "$cache"
fi
# modules are found from where the test lies
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/*.mjs "$work"
ln -s "$cache/node_modules" "$work/node_modules"
HARPER_SERVER_BIN=${HARPER_SERVER_BIN:-$root/target/debug/harper-server} HARPER_EXAMPLE=$root/deploy/examples/cities \
  timeout 180 node --test "$work"/*.test.mjs
