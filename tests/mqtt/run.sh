#!/bin/bash
# run.sh : the clients that people use against the debug build: mosquitto_pub and _sub, paho-mqtt and mqtt.js, over TCP, TLS and
# WebSocket. Needs mosquitto-clients, Python 3, Node.js 20 and OpenSSL; the two libraries are kept in ~/.cache/harper-tests.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${HARPER_TEST_CACHE:-$HOME/.cache/harper-tests}
server=${HARPER_SERVER_BIN:-$root/target/debug/harper-server}

if ! command -v mosquitto_pub >/dev/null; then
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends mosquitto-clients >/dev/null
fi
if ! [ -x "$cache/mqtt-venv/bin/python" ]; then
  mkdir -p "$cache"
  python3 -m venv "$cache/mqtt-venv"
fi
if ! "$cache/mqtt-venv/bin/python" -c 'import paho.mqtt' 2>/dev/null; then
  "$cache/mqtt-venv/bin/pip" install --quiet 'paho-mqtt==2.1.0'
fi
if ! cmp -s "$here/package-lock.json" "$cache/mqtt-js/package-lock.json" || ! [ -d "$cache/mqtt-js/node_modules/mqtt" ]; then
  mkdir -p "$cache/mqtt-js"
  cp "$here/package.json" "$here/package-lock.json" "$cache/mqtt-js"
  (cd "$cache/mqtt-js" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null)
fi
# a script finds the library beside itself
cp "$here/client.mjs" "$cache/mqtt-js"

work=$(mktemp -d)
pid=
stop() { if [ -n "$pid" ]; then kill "$pid" 2>/dev/null && wait "$pid" || true; fi; }
trap 'stop; rm -rf "$work"' EXIT

mkdir "$work/app"
printf 'rest: true\ngraphqlSchema: { files: schema.graphql }\n' >"$work/app/config.yaml"
echo 'type Dog @table @export { id: ID @primaryKey name: String }' >"$work/app/schema.graphql"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=authority of the test" -days 2 \
  -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$work/ca.key" -out "$work/ca.pem" 2>"$work/openssl"
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" -keyout "$work/own.key" -out "$work/own.csr" 2>"$work/openssl"
openssl x509 -req -in "$work/own.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -days 2 -sha256 -out "$work/own.pem" \
  -extfile <(printf 'subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n') 2>"$work/openssl"

HDB_ADMIN_USERNAME=admin HDB_ADMIN_PASSWORD=for-this-test "$server" run "$work/app" --root "$work/root" \
  --set http.port=127.0.0.1:0 --set admin.port=127.0.0.1:0 --set operationsApi.network.port=null --set threads.count=2 \
  --set mqtt.network.port=127.0.0.1:0 --set mqtt.network.securePort=127.0.0.1:0 \
  --set tls.certificate="$work/own.pem" --set tls.privateKey="$work/own.key" >"$work/log" 2>&1 &
pid=$!
# port WORDS : the port that the server has said with these words
port() { sed -n "s/.*$1 127.0.0.1:\([0-9]*\).*/\1/p" "$work/log" | head -n 1; }
for _ in $(seq 200); do
  if [ -n "$(port 'probes on')" ] || ! kill -0 "$pid" 2>/dev/null; then break; fi
  sleep 0.1
done
tcp=$(port 'MQTT on') tls=$(port 'MQTT with TLS on') ws=$(port 'serving on')
if [ -z "$tcp" ] || [ -z "$tls" ] || [ -z "$ws" ]; then cat "$work/log"; exit 1; fi

# with NAME COMMAND... : runs a client, and shows what it said when it fails
with() {
  local name=$1
  shift
  if ! timeout 30 "$@" >"$work/said" 2>&1; then
    echo "$name failed"
    cat "$work/said"
    exit 1
  fi
  echo "$name: $(tail -n 1 "$work/said")"
}
with "mosquitto over TCP" "$here/mosquitto.sh" "$tcp"
with "mosquitto over TLS" "$here/mosquitto.sh" "$tls" --cafile "$work/ca.pem"
for transport in tcp tls ws; do
  with "paho-mqtt over $transport" "$cache/mqtt-venv/bin/python" "$here/client.py" "$transport" "${!transport}" "$work/ca.pem"
  with "mqtt.js over $transport" node "$cache/mqtt-js/client.mjs" "$transport" "${!transport}" "$work/ca.pem"
done
