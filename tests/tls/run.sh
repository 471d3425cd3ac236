#!/bin/bash
# run.sh : what scanners of TLS say of the server with its default keys, once with an ECDSA and once with an RSA certificate: nothing
# weak (sslyze and testssl), and within Mozilla's "intermediate" configuration (sslyze). Needs Python 3.10 and OpenSSL; sslyze is kept
# in ~/.cache/harper-tests, testssl is Debian's.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${HARPER_TEST_CACHE:-$HOME/.cache/harper-tests}
tools=$cache/tls-venv/bin
server=${HARPER_SERVER_BIN:-$root/target/debug/harper-server}

if ! [ -x "$tools/sslyze" ]; then
  mkdir -p "$cache"
  python3 -m venv "$cache/tls-venv"
  "$tools/pip" install --quiet 'sslyze==6.3.1'
fi

if ! command -v testssl >/dev/null; then
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends testssl.sh >/dev/null
fi

work=$(mktemp -d)
pid=
stop() { if [ -n "$pid" ]; then kill "$pid" 2>/dev/null && wait "$pid" || true; fi; pid=; }
trap 'stop; rm -rf "$work"' EXIT
mkdir "$work/app"
echo "rest: true" >"$work/app/config.yaml"

# an authority, and below it a certificate for 90 days: that of a first start lives longer than a public one may
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=authority of the test" -days 90 \
  -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$work/ca.key" -out "$work/ca.pem" 2>"$work/openssl"
# certificate NAME KIND OPTION : makes NAME.pem and NAME.key
certificate() {
  openssl req -newkey "$2" -pkeyopt "$3" -nodes -subj "/CN=localhost" -keyout "$work/$1.key" -out "$work/$1.csr" 2>"$work/openssl"
  openssl x509 -req -in "$work/$1.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -days 90 -sha256 -out "$work/$1.pem" \
    -extfile <(printf 'subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\nkeyUsage=digitalSignature\nauthorityKeyIdentifier=keyid\ncrlDistributionPoints=URI:http://localhost/list\n') 2>"$work/openssl"
}
certificate ecdsa ec ec_paramgen_curve:P-256
certificate rsa rsa rsa_keygen_bits:2048

# serve NAME : starts the server with that certificate and sets $port
serve() {
  HDB_ADMIN_USERNAME=admin HDB_ADMIN_PASSWORD=for-this-test "$server" run "$work/app" --root "$work/root-$1" \
    --set http.port=null --set admin.port=127.0.0.1:0 --set operationsApi.network.port=null --set threads.count=1 \
    --set http.securePort=127.0.0.1:0 --set http.http2=true \
    --set tls.certificate="$work/$1.pem" --set tls.privateKey="$work/$1.key" >"$work/log" 2>&1 &
  pid=$!
  port=
  for _ in $(seq 200); do
    port=$(sed -n 's/.*serving with TLS on 127.0.0.1:\([0-9]*\).*/\1/p' "$work/log" | head -n 1)
    if [ -n "$port" ] || ! kill -0 "$pid" 2>/dev/null; then break; fi
    sleep 0.1
  done
  if [ -z "$port" ]; then cat "$work/log"; exit 1; fi
}

# scan NAME : what testssl finds, in NAME.json, and all that it says, in NAME.scan. It asks nobody but the server.
scan() {
  testssl --quiet --color 0 --warnings off --nodns none --ip 127.0.0.1 --add-ca "$work/ca.pem" --severity LOW \
    --jsonfile "$work/$1.json" --protocols --std --fs --server-defaults --server-preference --vulnerable \
    "localhost:$port" >"$work/$1.scan" 2>&1
}

for name in ecdsa rsa; do
  serve "$name"
  scan "$name" &
  scanner=$!
  # its exit status is that of Mozilla's configuration
  if ! "$tools/sslyze" --certinfo_ca_file "$work/ca.pem" --mozilla_config intermediate --early_data --quiet \
    --json_out "$work/report.json" "localhost:$port" >"$work/said" 2>"$work/warned"; then
    cat "$work/said" "$work/warned"
    exit 1
  fi
  "$tools/python" "$here/judge.py" "$work/report.json"
  wait "$scanner" || true
  if ! "$tools/python" "$here/findings.py" "$work/$name.json" "$work/$name.scan"; then
    cat "$work/$name.scan"
    exit 1
  fi
  echo "$name: nothing weak"
  stop
done
