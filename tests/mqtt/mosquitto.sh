#!/bin/bash
# mosquitto.sh PORT [OPTION...] : what mosquitto_pub and mosquitto_sub can show, in MQTT 3.1.1 and 5.
set -euo pipefail
port=$1
shift
same=(-h localhost -p "$port" "$@")
login=(-u admin -P for-this-test)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
checks=0

# is WHAT EXPECTED SAID : the client has said just this
is() {
  if [ "$2" != "$3" ]; then
    echo "$1: expected $2, found $3"
    exit 1
  fi
  checks=$((checks + 1))
}
publish() { mosquitto_pub "${same[@]}" "${login[@]}" -V "$version" "$@"; }
# listen FILE OPTION... : subscribes in the background, and waits until that is so; $listener is the process
listen() {
  local file=$1
  shift
  stdbuf -oL mosquitto_sub "${same[@]}" "${login[@]}" -V "$version" -W 10 -d "$@" >"$file" 2>&1 &
  listener=$!
  for _ in $(seq 100); do
    if grep -q "Subscribed" "$file"; then return; fi
    sleep 0.05
  done
  cat "$file"
  exit 1
}
# told FILE : what came, without what the client says of itself
told() { grep -v -E '^(Client |Subscribed)' "$1" | paste -sd ' '; }

for version in mqttv311 mqttv5; do
  if mosquitto_pub "${same[@]}" -u admin -P wrong -V "$version" -t Dog/1 -m x 2>"$work/refused"; then
    echo "a wrong login is let in"
    exit 1
  fi
  checks=$((checks + 1))
  for qos in 0 1 2; do
    listen "$work/told" -q "$qos" -t 'Dog/+' -C 2 -F '%t=%p'
    publish -q "$qos" -t "Dog/a" -m one
    publish -q "$qos" -t "Dog/b" -m two
    wait "$listener"
    is "wildcards at QoS $qos" "Dog/a=one Dog/b=two" "$(told "$work/told")"
  done
  publish -q 1 -r -t "Dog/kept" -m '{"name":"Rex"}'
  listen "$work/told" -t "Dog/kept" -C 1 -F '%r %p'
  wait "$listener"
  is "a retained message" '1 {"id":"kept","name":"Rex"}' "$(told "$work/told")"
  publish -q 1 -r -n -t "Dog/kept"
  lasting=("${same[@]}" "${login[@]}" -V "$version" -W 10 -q 1 -i "durable-$version" -c -t Dog/durable)
  if [ "$version" = mqttv5 ]; then lasting+=(-x 60); fi
  mosquitto_sub "${lasting[@]}" -E
  publish -q 1 -t Dog/durable -m missed
  is "a session that goes on" missed "$(mosquitto_sub "${lasting[@]}" -C 1)"
  listen "$work/will" -t "Dog/will" -C 1
  mourner=$listener
  listen "$work/told" -t "Dog/none" --will-topic Dog/will --will-payload gone
  kill -9 "$listener"
  wait "$mourner"
  is "a will" gone "$(told "$work/will")"
done

version=mqttv5
listen "$work/told" -t 'Dog/properties' -C 1 -F '%p %R %D %C %P'
publish -t Dog/properties -m x -D publish response-topic Dog/answer -D publish correlation-data 7 -D publish content-type text/plain \
  -D publish user-property who me
wait "$listener"
is "properties of MQTT 5" "x Dog/answer 7 text/plain who:me" "$(told "$work/told")"
listen "$work/first" -t '$share/group/Dog/shared' -C 1
first=$listener
listen "$work/second" -t '$share/group/Dog/shared' -W 2
for number in $(seq 20); do publish -t Dog/shared -m "$number"; done
wait "$first" "$listener" || true
is "a shared subscription gives each to one" "" "$(told "$work/first" | tr ' ' '\n' | grep -x -F -f <(told "$work/second" | tr ' ' '\n') || true)"
echo "$checks checks"
