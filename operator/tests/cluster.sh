#!/bin/bash
# Proves the operator against a real API server with its controllers, without a node: the schema's rules, what is
# applied, what a reconcile at rest costs, drift, restart, and the permissions (the operator runs with exactly the
# rules that it prints). Pods are made ready by hand. Needs the binaries of tests/kubernetes/build.sh and a built
# operator; takes about a minute.
#
#   cargo build -p harper-operator && operator/tests/cluster.sh
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
operator=${OPERATOR:-$here/target/debug/harper-operator}
export HK_NAME=${HK_NAME:-op} HK_API_PORT=${HK_API_PORT:-26443} HK_ETCD_PORT=${HK_ETCD_PORT:-22379}
. "$here/tests/kubernetes/common.sh"
admin=127.0.0.1:28080
work=$(mktemp -d)
passed=0 failed=0 pid= resets=

finish() {
  stop_operator
  [ -z "$resets" ] || kill "$resets"
  [ "$failed" = 0 ] || tail -n 40 "$work/operator.log"
  "$here/tests/kubernetes/down.sh"
  rm -rf "$work"
}
trap finish EXIT

# check NAME COMMAND... : the command must succeed within 10 seconds
check() {
  local name=$1 start; shift
  start=$(date +%s%N)
  until "$@" >"$work/out" 2>&1; do
    if [ $(($(date +%s%N) - start)) -gt 10000000000 ]; then
      failed=$((failed + 1)); echo "FAILED  $name"; tail -n 5 "$work/out"; return
    fi
    sleep 0.02
  done
  passed=$((passed + 1)); echo "ok      $name ($((($(date +%s%N) - start) / 1000000)) ms)"
}
k() { kubectl -n demo "$@"; }
# refused WORDS YAML : the API server refuses the object and says why
refused() { ! k apply -f - <<<"$2" >"$work/refused" 2>&1 && grep -qF "$1" "$work/refused"; }
condition() { [ "$(k get hs "$1" -o jsonpath="{.status.conditions[?(@.type==\"$2\")].$3}")" = "$4" ]; }
equals() { [ "$1" = "$2" ]; }
metric() { curl -sf "http://$admin/metrics" | awk -v m="$1" 'index($0, m) == 1 {s += $2} END {print s + 0}'; }
writes() { metric harper_operator_apply_total; }
start_operator() {
  KUBECONFIG=$work/operator.kubeconfig "$operator" run --admin-address "$admin" --server-image harper-server:test >>"$work/operator.log" 2>&1 &
  pid=$!
}
stop_operator() { [ -z "$pid" ] || { kill "$pid" && wait "$pid" || true; pid=; }; }
hs() { printf 'apiVersion: harper.dev/v1alpha1\nkind: HarperServer\nmetadata: {name: %s}\nspec: %s\n' "$1" "$2"; }
pod_ready() {
  k patch pod "$1-0" --subresource=status --type=merge -p '{"status":{"phase":"Running","conditions":[
    {"type":"Ready","status":"True"},{"type":"ContainersReady","status":"True"}]}}' >/dev/null 2>&1 || true
  condition "$1" Ready status True
}
current_pod_ready() { # the pod of the latest template
  [ "$(k get pod "$1-0" -o jsonpath='{.metadata.labels.controller-revision-hash}')" = "$(k get sts "$1" -o jsonpath='{.status.updateRevision}')" ] && pod_ready "$1"
}

# a listener that resets every connection: the sentence about it holds another port each time
python3 -c '
import socket, struct
listener = socket.create_server(("127.0.0.1", 28777))
while True:
    connection, _ = listener.accept()
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()' &
resets=$! resetting=127.0.0.1:28777

KUBECONFIG=$("$here/tests/kubernetes/up.sh" control | tail -n 1)
export KUBECONFIG
"$operator" crd | kubectl apply -f - >/dev/null
{ printf 'apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: op}\nrules:\n'; "$operator" rbac; } | kubectl apply -f - >/dev/null
kubectl create serviceaccount op -n default >/dev/null
kubectl create clusterrolebinding op --clusterrole=op --serviceaccount=default:op >/dev/null
kubectl create namespace demo >/dev/null
cp "$KUBECONFIG" "$work/operator.kubeconfig"
kubectl --kubeconfig "$work/operator.kubeconfig" config set-credentials op --token="$(kubectl create token op -n default)" >/dev/null
kubectl --kubeconfig "$work/operator.kubeconfig" config set-context --current --user=op >/dev/null
kubectl wait --for=condition=Established crd/harperservers.harper.dev >/dev/null
start_operator

check "ready" curl -sf "http://$admin/readyz"
check "smoke test" "$operator" smoke-test --url "http://$admin/readyz" --expect-crd
check "it cannot read Secrets" equals "$(kubectl auth can-i get secrets --as system:serviceaccount:default:op -n demo || true)" no

# the schema's rules
check "replicas: 2 is refused" refused "distributed engine" "$(hs a '{replicas: 2}')"
check "a long name is refused" refused "at most 52" "$(hs "a$(printf 'x%.0s' {1..60})" '{}')"
check "a name with a dot is refused" refused "starting with a letter" "$(hs a.b '{}')"
check "threads: many is refused" refused "or auto" "$(hs a '{threads: {count: many}}')"
check "a path with .. is refused" refused "has no '..'" "$(hs a '{components: [{name: c, configMapRef: {name: m, items: [{key: k, path: a/../../b}]}}]}')"
check "two components of one name are refused" refused "Duplicate value" "$(hs a '{components: [{name: c, configMapRef: {name: m}}, {name: c, configMapRef: {name: m}}]}')"
check "a size of zero is refused" refused "above zero" "$(hs a '{storage: {size: "0"}}')"
check "the name of a headless Service is refused" refused "NAME-headless" "$(hs a-headless '{}')"
check "a server without a spec is taken" bash -c "printf 'apiVersion: harper.dev/v1alpha1\\nkind: HarperServer\\nmetadata: {name: bare}\\n' | kubectl -n demo apply --dry-run=server -f -"
check "a digest of nonsense is refused" refused "spec.image.digest" "$(hs a '{image: {digest: nonsense}}')"

# a server
k apply -f - <<<"$(hs cities '{components: [{name: cities, configMapRef: {name: files}}]}')" >/dev/null
check "waits for its ConfigMap" condition cities Ready reason ComponentNotFound
k create configmap files --from-literal=config.yaml='rest: true' >/dev/null
check "is applied when the ConfigMap appears" k get sts cities
check "is not ready before its pod" condition cities Reconciling status True
check "is ready with its pod" current_pod_ready cities
check "is not stalled" condition cities Stalled status False
for object in service/cities service/cities-headless serviceaccount/cities configmap/cities-config secret/cities-admin; do
  check "has $object" k get "$object"
done
check "scale shows the pods" equals "$(k get hs cities -o jsonpath='{.status.selector}')" "$(kubectl get --raw /apis/harper.dev/v1alpha1/namespaces/demo/harperservers/cities/scale | sed 's/.*"selector":"\([^"]*\)".*/\1/')"
check "no replica: 2 by an edit of scale" bash -c "! kubectl -n demo scale hs cities --replicas=2"
check "the size cannot change" refused "cannot change yet" "$(hs cities '{storage: {size: 9Gi}}')"
check "the type cannot change" refused "cannot change" "$(hs cities '{storage: {type: Ephemeral}}')"
password=$(k get secret cities-admin -o jsonpath='{.data.password}')
check "the password is long" equals "$(base64 -d <<<"$password" | wc -c)" 32

# at rest
sleep 4
before=$(writes); reconciles=$(metric harper_operator_reconcile_total)
k annotate hs cities example.com/touch=1 >/dev/null
check "a touched server is reconciled" bash -c "[ \$(curl -sf http://$admin/metrics | awk '/^harper_operator_reconcile_total/ {s += \$2} END {print s}') -gt $reconciles ]"
sleep 1
check "a reconcile at rest writes nothing" equals "$(writes)" "$before"

# drift
for object in statefulset/cities service/cities service/cities-headless serviceaccount/cities configmap/cities-config; do
  uid=$(k get "$object" -o jsonpath='{.metadata.uid}')
  k delete "$object" --cascade=orphan --wait=false >/dev/null
  check "deleted $object is back" bash -c "uid=\$(kubectl -n demo get $object -o jsonpath='{.metadata.uid}') && [ \"\$uid\" != $uid ]"
done
k patch configmap cities-config --type=merge -p '{"data":{"harperdb-config.yaml":"nonsense"}}' >/dev/null
check "an edited ConfigMap is mended" bash -c "kubectl -n demo get cm cities-config -o yaml | grep -q componentsRoot"
k patch service cities --type=merge -p '{"spec":{"ports":[{"port":1,"name":"x"}]}}' >/dev/null
check "an edited Service is mended" bash -c "[ \"\$(kubectl -n demo get svc cities -o jsonpath='{.spec.ports[*].port}')\" = 9926 ]"
k set env sts cities EXTRA=1 >/dev/null
check "an added variable is removed" bash -c "! kubectl -n demo get sts cities -o yaml | grep -q EXTRA"
k annotate service cities example.com/note=1 >/dev/null
k scale sts cities --replicas=3 >/dev/null
check "a scaled StatefulSet is mended" bash -c "[ \"\$(kubectl -n demo get sts cities -o jsonpath='{.spec.replicas}')\" = 1 ]"
k label sts cities app.kubernetes.io/managed-by- >/dev/null
check "a removed label is put back" bash -c "[ \"\$(kubectl -n demo get sts cities -o jsonpath='{.metadata.labels.app\.kubernetes\.io/managed-by}')\" = harper-operator ]"
k label sts cities app.kubernetes.io/instance=other --overwrite >/dev/null
check "a changed label is put back" bash -c "[ \"\$(kubectl -n demo get sts cities -o jsonpath='{.metadata.labels.app\.kubernetes\.io/instance}')\" = cities ]"
k patch sts cities --type=merge -p '{"metadata":{"ownerReferences":null}}' >/dev/null
check "removed owner references are put back" bash -c "kubectl -n demo get sts cities -o jsonpath='{.metadata.ownerReferences[*].name}' | grep -qx cities"
k patch service cities --type=merge -p '{"metadata":{"ownerReferences":null}}' >/dev/null && k delete service cities >/dev/null
check "a child deleted without its owner references is back" k get service cities
k annotate service cities example.com/note=1 >/dev/null || true
events() { k get events -o jsonpath='{range .items[?(@.reason=="DriftHealed")]}{.message}{"\n"}{end}' >"$work/events"; grep -qx "put back Service cities" "$work/events" && grep -qx "put back ConfigMap cities-config" "$work/events"; }
check "every child that was put back has its event" events
check "someone else's annotation stays" equals "$(k get svc cities -o jsonpath='{.metadata.annotations.example\.com/note}')" 1
check "the drift was counted" bash -c "[ \$(curl -sf http://$admin/metrics | awk '/^harper_operator_drift_healed_total/ {s += \$2} END {print s + 0}') -ge 9 ]"
check "the password is the same" equals "$(k get secret cities-admin -o jsonpath='{.data.password}')" "$password"
check "is ready again" current_pod_ready cities

# changes
hash=$(k get hs cities -o jsonpath='{.status.configHash}')
k create configmap files --from-literal=config.yaml='rest: false' --dry-run=client -o yaml | k apply -f - >/dev/null 2>&1
check "an edited application has another hash" bash -c "[ \"\$(kubectl -n demo get sts cities -o jsonpath='{.spec.template.metadata.annotations.harper\.dev/config-hash}')\" != $hash ]"
check "is not ready while it rolls, then is" current_pod_ready cities
k patch hs cities --type=merge -p '{"spec":{"config":{"http":{"prot":1}}}}' >/dev/null
check "a bad configuration is stalled" condition cities Stalled status True
check "and named" bash -c "kubectl -n demo get hs cities -o yaml | grep -qF 'http.prot: unknown key (did you mean http.port?)'"
check "and not applied" bash -c "! kubectl -n demo get cm cities-config -o yaml | grep -q prot"
k patch hs cities --type=merge -p '{"spec":{"config":null,"paused":true,"http":{"port":8000}}}' >/dev/null
check "paused is said" condition cities Paused status True
check "paused does not claim that the spec runs" bash -c "[ \"\$(kubectl -n demo get hs cities -o jsonpath='{.status.observedGeneration}')\" -lt \"\$(kubectl -n demo get hs cities -o jsonpath='{.metadata.generation}')\" ]"
check "paused writes nothing" bash -c "[ \"\$(kubectl -n demo get svc cities -o jsonpath='{.spec.ports[*].port}')\" = 9926 ]"
k patch hs cities --type=merge -p '{"spec":{"paused":false}}' >/dev/null
check "and is applied afterwards" bash -c "[ \"\$(kubectl -n demo get svc cities -o jsonpath='{.spec.ports[*].port}')\" = 8000 ]"
check "is ready" current_pod_ready cities
check "and the spec runs" bash -c "[ \"\$(kubectl -n demo get hs cities -o jsonpath='{.status.observedGeneration}')\" = \"\$(kubectl -n demo get hs cities -o jsonpath='{.metadata.generation}')\" ]"

# an API server that refuses with another sentence each time
reconciles_after_3_s() { local before; before=$(metric harper_operator_reconcile_total); sleep 3; echo $(($(metric harper_operator_reconcile_total) - before)); }
kubectl apply -f - >/dev/null <<Y
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: broken}
webhooks:
- name: broken.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 1
  clientConfig: {url: "https://$resetting/"}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: demo}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [serviceaccounts]}]
Y
sleep 1
k apply -f - <<<"$(hs refused '{}')" >/dev/null
check "a failing API is said" condition refused Ready reason ApiUnavailable
check "and is not asked in a loop" test "$(reconciles_after_3_s)" -lt 30
kubectl delete validatingwebhookconfiguration broken >/dev/null
check "and is used when it works" k get sts refused
k delete hs refused >/dev/null

# other people's objects
k create service clusterip taken --tcp=80:80 >/dev/null
k apply -f - <<<"$(hs taken '{}')" >/dev/null
check "someone else's Service is left alone" condition taken Ready reason ChildNotOurs
check "and keeps its port" equals "$(k get svc taken -o jsonpath='{.spec.ports[*].port}')" 80
k delete svc taken >/dev/null
check "and used when it is gone" k get sts taken
k create configmap other-config --from-literal=a=b >/dev/null
owner=$(k get hs taken -o jsonpath='{.metadata.uid}')
k patch configmap other-config --type=merge -p "{\"metadata\":{\"labels\":{\"app.kubernetes.io/managed-by\":\"harper-operator\"},\"ownerReferences\":[{\"apiVersion\":\"harper.dev/v1alpha1\",\"kind\":\"HarperServer\",\"name\":\"taken\",\"uid\":\"$owner\",\"controller\":true}]}}" >/dev/null
k apply -f - <<<"$(hs other '{}')" >/dev/null
check "another server's ConfigMap is left alone" condition other Ready reason ChildNotOurs
check "and keeps its content" equals "$(k get configmap other-config -o jsonpath='{.data.a}')" b
k delete hs other >/dev/null; k delete configmap other-config >/dev/null
k apply -f - <<<"$(hs again '{}')" >/dev/null
check "a server" k get sts again
first=$(k get secret again-admin -o jsonpath='{.metadata.uid}')
k delete hs again --wait=true >/dev/null && k apply -f - <<<"$(hs again '{}')" >/dev/null
uid=$(k get hs again -o jsonpath='{.metadata.uid}')
check "a server made again has its own children" bash -c "[ \"\$(kubectl -n demo get sts again -o jsonpath='{.metadata.ownerReferences[*].uid}')\" = $uid ]"
check "and its own Secret" bash -c "uid=\$(kubectl -n demo get secret again-admin -o jsonpath='{.metadata.uid}') && [ \$uid != $first ]"
k delete hs again >/dev/null

# restart
k delete hs taken --wait=true >/dev/null
sleep 1
stop_operator
resources=$(k get sts,svc,sa,cm -l app.kubernetes.io/managed-by=harper-operator -o jsonpath='{.items[*].metadata.resourceVersion}')
start_operator
check "ready after a restart" curl -sf "http://$admin/readyz"
sleep 2
check "a restart writes nothing" equals "$(writes)" 0
check "and touches nothing" equals "$(k get sts,svc,sa,cm -l app.kubernetes.io/managed-by=harper-operator -o jsonpath='{.items[*].metadata.resourceVersion}')" "$resources"
stop_operator
k patch service cities --type=merge -p '{"spec":{"ports":[{"port":1,"name":"x"}]}}' >/dev/null
start_operator
check "an edit while it was away is mended" bash -c "[ \"\$(kubectl -n demo get svc cities -o jsonpath='{.spec.ports[*].port}')\" = 8000 ]"

# the end
k delete hs cities --wait=true >/dev/null
check "children go with their server" bash -c "! kubectl -n demo get sts cities"
check "the claim stays" k get pvc data-cities-0
check "memory" bash -c "awk '/RssAnon/ {exit !(\$2 < 40000)}' /proc/$pid/status"
echo "RssAnon $(awk '/RssAnon/ {print $2}' /proc/$pid/status) KiB (debug build)"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
