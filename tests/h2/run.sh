#!/bin/bash
# run.sh [ROUNDS] : h2spec, strict and over TLS, against the debug build, as often as said (3): every case of RFC 9113 and RFC 7541
# must hold each time. Needs Go; the tool is kept in ~/.cache/harper-tests.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
rounds=${1:-3}
cache=${HARPER_TEST_CACHE:-$HOME/.cache/harper-tests}
server=${HARPER_SERVER_BIN:-$root/target/debug/harper-server}

if ! [ -x "$cache/h2spec/h2spec" ]; then
  mkdir -p "$cache/h2spec"
  GOBIN=$cache/h2spec go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
fi

work=$(mktemp -d)
pid=
stop() { if [ -n "$pid" ]; then kill "$pid" 2>/dev/null && wait "$pid" || true; fi; }
trap 'stop; rm -rf "$work"' EXIT

mkdir -p "$work/app/web"
printf "static: { files: 'web/**' }\n" >"$work/app/config.yaml"
echo "a page" >"$work/app/web/index.html"
HDB_ADMIN_USERNAME=admin HDB_ADMIN_PASSWORD=for-this-test "$server" run "$work/app" --root "$work/root" \
  --set http.port=127.0.0.1:0 --set admin.port=127.0.0.1:0 --set operationsApi.network.port=null --set mqtt.network.port=null \
  --set http.securePort=127.0.0.1:0 --set http.http2=true --set threads.count=1 >"$work/log" 2>&1 &
pid=$!
for _ in $(seq 200); do
  port=$(sed -n 's/.*serving with TLS on 127.0.0.1:\([0-9]*\).*/\1/p' "$work/log" | head -n 1)
  if [ -n "$port" ] || ! kill -0 "$pid" 2>/dev/null; then break; fi
  sleep 0.1
done
[ -n "$port" ] || { cat "$work/log"; exit 1; }

for round in $(seq "$rounds"); do
  if ! "$cache/h2spec/h2spec" --tls --insecure --strict --host 127.0.0.1 --port "$port" --timeout 10 >"$work/report" 2>&1; then
    cat "$work/report"
    exit 1
  fi
  echo "round $round: $(tail -n 1 "$work/report")"
done
