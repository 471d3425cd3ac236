#!/bin/bash
# Sourced by e2e.sh: settings, the step runner, and what several steps use.
# shellcheck disable=SC2034  # the step files use the settings
system=harper-system            # the operator's namespace
namespace=cities                # the application's
server=cities                   # the HarperServer of deploy/examples/cities.yaml
release=harper-operator
prometheus_port=19090
example=$root/deploy/examples/cities
binaries=${HARPER_BINARIES:-${CARGO_TARGET_DIR:-$root/target}/x86_64-unknown-linux-musl/release}
HELM=$HK_BIN/helm
work=$(mktemp -d "${TMPDIR:-/tmp}/harper-e2e.XXXXXX")
number=0
passed=0
failed=0

kc() { kubectl --kubeconfig "$HK_KUBECONFIG" "$@"; }

app() { kc --namespace "$namespace" "$@"; }

helm() { "$HELM" --kubeconfig "$HK_KUBECONFIG" --namespace "$system" "$@"; }

# inside COMMAND... : in the node's network namespace, where Services and pods have their addresses
inside() { nsenter --net="/run/netns/$HK_NAME" "$@"; }

# note TEXT : a line under the step's own
note() { echo "$*" >> "$work/notes"; }

fail() { echo "failed: $*" >&2; return 1; }

# now : milliseconds
now() { echo $((${EPOCHREALTIME/./} / 1000)); }

# seconds_since MILLISECONDS : with one decimal
seconds_since() {
  local tenths=$((($(now) - $1) / 100))
  echo "$((tenths / 10)).$((tenths % 10))"
}

# step NAME FUNCTION : runs FUNCTION in a subshell that ends at the first error, and prints a numbered line with its
# seconds. A failure prints what the step said and the state of the cluster, and ends the test: later steps build on it.
step() {
  local name=$1 function=$2 started status verdict=ok
  number=$((number + 1))
  started=$(now)
  : > "$work/notes"
  set +e
  (set -euo pipefail; "$function") > "$work/step.log" 2>&1
  status=$?
  set -e
  [ "$status" = 0 ] || verdict=FAILED
  printf '%2d  %-6s  %6s s  %s\n' "$number" "$verdict" "$(seconds_since "$started")" "$name"
  sed 's/^/                      /' "$work/notes"
  if [ "$status" = 0 ]; then passed=$((passed + 1)); return; fi
  failed=$((failed + 1))
  tail -n 40 "$work/step.log" | sed 's/^/    | /'
  dump_state
  exit 1
}

# section TITLE LINES COMMAND... : the last LINES lines of a command that may fail and may not hang
section() {
  local title=$1 lines=$2
  shift 2
  echo "--- $title"
  timeout 10 "$@" 2>&1 | tail -n "$lines" | cut -c1-400 || true
}

dump_state() {
  local k=(kubectl --kubeconfig "$HK_KUBECONFIG")
  [ -e "$HK_KUBECONFIG" ] || return 0
  section "volumes" 10 "${k[@]}" get pv
  section "the application's objects" 40 "${k[@]}" --namespace "$namespace" get all,configmap,serviceaccount,pvc,harperserver
  section "the operator's objects" 20 "${k[@]}" --namespace "$system" get all
  section "HarperServer" 120 "${k[@]}" --namespace "$namespace" get harperserver "$server" -o yaml
  section "events" 40 "${k[@]}" get events --all-namespaces --sort-by=.lastTimestamp
  section "the server's pod" 50 "${k[@]}" --namespace "$namespace" describe pod "$server-0"
  section "the server's log" 40 "${k[@]}" --namespace "$namespace" logs "$server-0" --tail 40
  section "the server's log before its last restart" 20 "${k[@]}" --namespace "$namespace" logs "$server-0" --previous --tail 20
  section "the operator's pods" 50 "${k[@]}" --namespace "$system" describe pods
  section "the operator's log" 60 "${k[@]}" --namespace "$system" logs "deployment/$release" --tail 60
}

# field KIND/NAME JSONPATH : a field of an object in the application's namespace
field() { app get "$1" -o "jsonpath={$2}"; }

pod_uid() { field "pod/$server-0" .metadata.uid; }

ready() { app wait --for=condition=Ready "harperserver/$server" --timeout=120s; }

# new_pod_ready OLD-UID : the pod is another one and its server is ready
new_pod_ready() { [ "$(pod_uid)" != "$1" ] && [ "$(field "pod/$server-0" '.status.conditions[?(@.type=="Ready")].status')" = True ]; }

# pod_settled : the StatefulSet has the one ready pod it wants, and that pod stays
pod_settled() {
  [ "$(field "statefulset/$server" .spec.replicas)" = 1 ] &&
    [ "$(field "statefulset/$server" .status.readyReplicas)" = 1 ] &&
    [ "$(field "statefulset/$server" .metadata.generation)" = "$(field "statefulset/$server" .status.observedGeneration)" ] &&
    [ -z "$(field "pod/$server-0" .metadata.deletionTimestamp)" ]
}

# url : the application through its Service
url() { echo "http://$(field "service/$server" .spec.clusterIP):9926"; }

# secret KEY : of the admin Secret
secret() { field "secret/$server-admin" ".data.$1" | base64 -d; }

# ask PATH [CURL-ARGUMENT]... : an authenticated request through the Service, whose routes may lag a second behind Ready
ask() {
  local path=$1
  shift
  inside curl --silent --show-error --fail-with-body --globoff --max-time 60 --retry 5 --retry-delay 1 --retry-connrefused \
    --user "$(secret username):$(secret password)" "$@" "$(url)$path"
}

# loader ARGUMENT... : the example's loader, through the Service
loader() {
  HDB_ADMIN_USERNAME=$(secret username) HDB_ADMIN_PASSWORD=$(secret password) \
    inside timeout 240 node "$example/load.mjs" --url "$(url)" "$@"
}

# all_there : every record of the data set is in the table
all_there() {
  local expected got
  expected=$(jq .records "$work/expected.json")
  got=$(ask '/City/?select(id)' | jq length)
  [ "$got" = "$expected" ] || fail "$got of $expected records are there"
}
