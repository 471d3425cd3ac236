#!/bin/bash
# run.sh [EXAMPLES] : /openapi of the cities example and of a table with every type: valid OpenAPI 3.1, and what the
# server answers to requests made from it (schemathesis) never fails and never breaks the description. EXAMPLES is the
# number of requests made for each operation (15). Needs Python 3.10; the tools are kept in ~/.cache/harper-tests.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
examples=${1:-15}
cache=${HARPER_TEST_CACHE:-$HOME/.cache/harper-tests}
tools=$cache/openapi-venv/bin
server=${HARPER_SERVER_BIN:-$root/target/debug/harper-server}

if ! [ -x "$tools/schemathesis" ] || ! [ -x "$tools/openapi-spec-validator" ]; then
  mkdir -p "$cache"
  python3 -m venv "$cache/openapi-venv"
  "$tools/pip" install --quiet 'schemathesis==4.32.5' 'openapi-spec-validator==0.9.0'
fi

work=$(mktemp -d)
# the tool leaves files where it runs
cd "$work"
pid=
stop() { if [ -n "$pid" ]; then kill "$pid" 2>/dev/null && wait "$pid" || true; fi; pid=; }
# the log is shown only where it says more than the answers
trap 'stop; grep -E "\[(error|fatal)\]" "$work/log" | head -n 20 || true; rm -rf "$work"' EXIT

# serve APPLICATION : starts the server on it and sets $address
serve() {
  rm -rf "$work/root"
  : >"$work/log"
  HDB_ADMIN_USERNAME=admin HDB_ADMIN_PASSWORD=for-this-test "$server" run "$1" --root "$work/root" \
    --set http.port=127.0.0.1:0 --set admin.port=127.0.0.1:0 --set operationsApi.network.port=null --set mqtt.network.port=null \
    --set threads.count=1 >"$work/log" 2>&1 &
  pid=$!
  address=
  for _ in $(seq 100); do
    address=$(sed -n 's/.*\]: serving on \([0-9.:]*\).*/\1/p' "$work/log" | head -n 1)
    if [ -n "$address" ]; then return; fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/log"
  exit 1
}

# ask APPLICATION : validates its description and tries it out
ask() {
  serve "$1"
  curl --silent --show-error --fail --user admin:for-this-test "http://$address/openapi" --output "$work/openapi.json"
  "$tools/openapi-spec-validator" --schema 3.1 "$work/openapi.json"
  # requests that leave the description are answered with 4xx, so only answers are judged
  "$tools/schemathesis" --config-file "$here/schemathesis.toml" run "http://$address/openapi" --auth admin:for-this-test \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance \
    --max-examples "$examples" --seed 1 --continue-on-failure --no-color --warnings off --suppress-health-check all
  stop
  if grep -qE '\[(error|fatal)\]' "$work/log"; then echo "the server logged an error"; exit 1; fi
}

mkdir "$work/every-type"
cp "$here/every-type.graphql" "$work/every-type/schema.graphql"
printf 'rest: true\ngraphqlSchema:\n  files: schema.graphql\n' >"$work/every-type/config.yaml"
ask "$root/deploy/examples/cities"
ask "$work/every-type"
