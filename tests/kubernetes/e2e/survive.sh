#!/bin/bash
# Sourced by e2e.sh: what must outlive a pod, the operator, the chart, and the HarperServer.
# shellcheck disable=SC2154  # the settings are lib.sh's

children=(configmap/"$server-config" service/"$server" serviceaccount/"$server" statefulset/"$server" secret/"$server-admin")

# versions : changes whenever somebody writes a child or the HarperServer, status included
versions() { app get "${children[@]}" "harperserver/$server" -o 'jsonpath={range .items[*]}{.kind} {.metadata.resourceVersion}{"\n"}{end}'; }

nothing_written_at_rest() {
  local before
  before=$(versions)
  sleep 5
  diff <(echo "$before") <(versions)
}

# The Secret is the user's after it was made; the server takes its password when it starts
password_changed() {
  local patch
  patch=$(printf '{"data":{"password":"%s"}}' "$(printf 'chosen-by-the-user' | base64)")
  secret password > "$work/password-before"
  app patch "secret/$server-admin" --type=merge --patch "$patch"
  app annotate "harperserver/$server" example.dev/touched=yes
  sleep 2
  [ "$(secret password)" = chosen-by-the-user ] || fail "the admin Secret was overwritten"
}

pod_killed() {
  local uid status
  uid=$(pod_uid)
  app delete pod "$server-0" --grace-period=0 --force
  wait_for 60 "the pod after it was killed" new_pod_ready "$uid"
  ready
  all_there
  loader --check > "$work/check"
  note "$(grep -c '^ok' "$work/check") answers are right"
  status=$(inside curl --silent --output /dev/null --write-out '%{http_code}' \
    --user "$(secret username):$(cat "$work/password-before")" "$(url)/City/x")
  [ "$status" = 401 ] || fail "the password before still works: $status"
}

# The operator finds everything as it left it: nothing is written, no pod restarts
operator_restarted() {
  local before uid
  uid=$(pod_uid)
  before=$(versions)
  kc --namespace "$system" rollout restart "deployment/$release"
  kc --namespace "$system" rollout status "deployment/$release" --timeout 60s
  sleep 3
  diff <(echo "$before") <(versions)
  [ "$(pod_uid)" = "$uid" ] || fail "the pod is another one"
  edit "ConfigMap, content, by the new operator" "configmap/$server-config" .data \
    '[{"op":"replace","path":"/data/harperdb-config.yaml","value":""}]'
}

chart_uninstalled() {
  local uid
  uid=$(pod_uid)
  pod_uid > "$work/uid-before-uninstall"
  helm uninstall "$release" --wait --timeout 60s
  # helm waits for the Deployment; its pod goes a moment later
  kc --namespace "$system" wait --for=delete pod --all --timeout=30s || fail "the operator's pod is still there"
  kc get customresourcedefinition harperservers.harper.dev
  app get "harperserver/$server" "${children[@]}"
  [ "$(pod_uid)" = "$uid" ] || fail "the pod is another one"
  all_there
}

chart_adopts() {
  chart_installed
  ready
  patch_server '{"spec":{"service":{"annotations":{"example.dev/adopted":"yes"}}}}'
  wait_for 10 "the change is applied" field_is yes "service/$server" '.metadata.annotations.example\.dev/adopted'
  [ "$(pod_uid)" = "$(cat "$work/uid-before-uninstall")" ] || fail "the pod is another one"
}

# gone OBJECT... : none of them exists
gone() { [ -z "$(app get "$@" --ignore-not-found -o name)" ]; }

server_deleted() {
  app delete harperserver "$server" --wait=false
  wait_for 60 "the children are gone" gone "${children[@]}" "pod/$server-0"
  app get pvc -o name | grep . || fail "the volume claim is gone"
}
