#!/bin/bash
# Sourced by e2e.sh: changes of the HarperServer, and edits and deletions of what the operator made from it.
# shellcheck disable=SC2154  # the settings are lib.sh's

patch_server() { app patch harperserver "$server" --type=merge --patch "$1"; }

# refused SENTENCE PATCH : the API server refuses the patch and says why
refused() {
  local output
  if output=$(patch_server "$2" 2>&1); then fail "accepted: $2"; fi
  grep -F "$1" <<< "$output" || fail "not the sentence \"$1\": $output"
}

mistakes_refused() {
  refused "more than one replica needs the distributed engine" '{"spec":{"replicas":2}}'
  refused "spec.http.port" '{"spec":{"http":{"port":70000}}}'
  refused "a number from 1 to 1024, or auto" '{"spec":{"threads":{"count":"many"}}}'
  refused "the size cannot change yet" '{"spec":{"storage":{"size":"1Gi"}}}'
  refused "the path is relative and has no '..'" \
    '{"spec":{"components":[{"name":"cities","configMapRef":{"name":"cities","items":[{"key":"config.yaml","path":"../x"}]}}]}}'
}

# What only the server's own validator knows: nothing is applied, a condition says so, the pod goes on
bad_config_held_back() {
  local uid before
  uid=$(pod_uid)
  before=$(field "configmap/$server-config" .data)
  patch_server '{"spec":{"config":{"http":{"timeout":"soon"}}}}'
  app wait --for=condition=ConfigValid=false "harperserver/$server" --timeout=20s
  note "$(field "harperserver/$server" '.status.conditions[?(@.type=="ConfigValid")].message')"
  [ "$(field "configmap/$server-config" .data)" = "$before" ] || fail "the configuration was applied"
  patch_server '{"spec":{"config":null}}'
  ready
  [ "$(pod_uid)" = "$uid" ] || fail "the pod is another one"
}

# encoding_of_list : the Content-Encoding of a list of some 100 KB
encoding_of_list() {
  ask '/City/?country=CH&select(id)' --output /dev/null --dump-header - --header 'Accept-Encoding: br' |
    tr -d '\r' | sed -n 's/^content-encoding: //Ip'
}

server_metrics() { metrics_of "$(field "pod/$server-0" .status.podIP)" 9464 > "$work/metrics"; }

list_plain() { [ -z "$(encoding_of_list)" ]; }

# The list of a country is compressed by default, and is not when compression is switched off. The running server
# follows that as soon as the kubelet has brought the file, which may take more than a minute.
live_change_applied() {
  local uid started
  uid=$(pod_uid)
  [ "$(encoding_of_list)" = br ] || fail "the list is not compressed to begin with"
  patch_server '{"spec":{"http":{"compressionThreshold":0},"threads":{"count":1}}}'
  started=$(now)
  wait_for 150 "the change to be followed" list_plain
  note "followed after $(seconds_since "$started") s"
  server_metrics
  grep '^harper_workers_running ' "$work/metrics"
  grep -q '^harper_workers_running 1$' "$work/metrics" || fail "threads.count 1 is not in force"
  [ "$(pod_uid)" = "$uid" ] || fail "the pod is another one"
  ready
}

# A key that is read at the start alone rolls the pod
change_applied() {
  local uid
  uid=$(pod_uid)
  patch_server '{"spec":{"config":{"storage":{"treesMax":64}}}}'
  wait_for 60 "a new pod" new_pod_ready "$uid"
  ready
  [ -z "$(encoding_of_list)" ] || fail "the list is compressed again"
  server_metrics
  grep -q '^harper_workers_running 1$' "$work/metrics" || fail "threads.count 1 is not in force"
  all_there
}

# heals NAME WANTED KIND/NAME JSONPATH COMMAND... : the command changes the field, which is WANTED again within 10 s
heals() {
  local name=$1 wanted=$2 object=$3 path=$4 started
  shift 4
  "$@"
  started=$(now)
  wait_for 10 "$name" field_is "$wanted" "$object" "$path"
  note "$name: $(seconds_since "$started") s"
}

field_is() { [ "$(field "$2" "$3")" = "$1" ]; }

# edit NAME KIND/NAME JSONPATH PATCH : a JSON patch of a field that the operator gave is undone
edit() {
  local wanted
  wanted=$(field "$2" "$3")
  [ -n "$wanted" ] || fail "$2 has no $3"
  heals "$1" "$wanted" "$2" "$3" app patch "$2" --type=json --patch "$4"
}

edits_healed() {
  edit "Service, port" "service/$server" '.spec.ports[*].port' '[{"op":"replace","path":"/spec/ports/0/port","value":19926}]'
  edit "Service, selector" "service/$server" .spec.selector '[{"op":"replace","path":"/spec/selector","value":{"app":"other"}}]'
  edit "ConfigMap, content" "configmap/$server-config" .data '[{"op":"replace","path":"/data/harperdb-config.yaml","value":"http: {port: 1}"}]'
  edit "ConfigMap, label" "configmap/$server-config" '.metadata.labels.app\.kubernetes\.io/name' \
    '[{"op":"remove","path":"/metadata/labels/app.kubernetes.io~1name"}]'
  edit "ServiceAccount, token mounting" "serviceaccount/$server" .automountServiceAccountToken \
    '[{"op":"replace","path":"/automountServiceAccountToken","value":true}]'
  edit "StatefulSet, label" "statefulset/$server" '.metadata.labels.app\.kubernetes\.io/managed-by' \
    '[{"op":"replace","path":"/metadata/labels/app.kubernetes.io~1managed-by","value":"nobody"}]'
  edit "StatefulSet, replicas" "statefulset/$server" .spec.replicas '[{"op":"replace","path":"/spec/replicas","value":0}]'
  wait_for 60 "the pod after its StatefulSet was scaled to 0" pod_settled
  ready
}

made_again() {
  local uid
  uid=$(field "$2" .metadata.uid) && [ "$uid" != "$1" ]
}

# delete KIND/NAME : it is made again, another one of the same name
delete() {
  local uid started
  uid=$(field "$1" .metadata.uid)
  app delete "$1" --wait=false
  started=$(now)
  wait_for 10 "$1 is made again" made_again "$uid" "$1"
  note "$1 deleted: $(seconds_since "$started") s"
}

deletions_healed() {
  local uid
  uid=$(pod_uid)
  delete "service/$server"
  delete "configmap/$server-config"
  delete "serviceaccount/$server"
  delete "statefulset/$server"
  wait_for 60 "the pod of the new StatefulSet" new_pod_ready "$uid"
  ready
  all_there
}
