#!/bin/bash
# Sourced by e2e.sh: from an empty machine to an application that is ready.
# shellcheck disable=SC2154  # the settings are lib.sh's

cluster_up() {
  "$here/up.sh" node
  note "Kubernetes $(kc version -o json | jq -r .serverVersion.gitVersion), $(containerd --version | cut -d' ' -f1,3)"
}

images_loaded() {
  HARPER_BINARIES=$binaries "$here/images.sh" > "$work/images"
  cut -d' ' -f1-4 "$work/images" >> "$work/notes"
  "$here/load.sh" "$HK_DIR"/images/harper-{server,operator}.tar
}

# Both namespaces enforce the restricted pod security standard. The volume is a `local` one: the kubelet gives it to the
# pod's group, as it would a disk of a cloud, and does not for a hostPath.
namespaces_and_volume() {
  local name
  mkdir -p "$HK_RUN/volume"
  for name in "$system" "$namespace"; do
    kc create namespace "$name"
    kc label namespace "$name" pod-security.kubernetes.io/enforce=restricted pod-security.kubernetes.io/warn=restricted
  done
  kc apply -f - <<Y
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: local-1}
spec:
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: local
  local: {path: "$HK_RUN/volume"}
  nodeAffinity:
    required:
      nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: ["$HK_NAME-node"]}]}]
Y
}

chart_installed() {
  helm install "$release" "$root/charts/harper-operator" --wait --timeout 120s \
    --set image.repository=localhost/harper-operator --set image.tag=dev --set image.pullPolicy=Never \
    --set serverImage.repository=localhost/harper-server --set serverImage.tag=dev
}

chart_tested() {
  helm test "$release" --timeout 60s && return
  kc --namespace "$system" logs "$release-smoke-test"
  return 1
}

application_ready() {
  app create configmap "$server" --from-file="$example/config.yaml" --from-file="$example/schema.graphql" \
    --from-file="$example/web"
  app apply -f "$root/deploy/examples/cities.yaml"
  ready
  app get harperserver "$server" >> "$work/notes"
}

# The data set is fetched outside: nothing leaves the node's network
data_fetched() {
  node "$example/load.mjs" --expect > "$work/expected.json"
  note "$(jq .records "$work/expected.json") records, $(jq '.queries | length' "$work/expected.json") queries with their answers"
}

data_loaded() {
  loader | tail -n 3 > "$work/loaded"
  tail -n 1 "$work/loaded" >> "$work/notes"
  all_there
}

queries_answered() { loader --check | tee -a "$work/notes"; }

strangers_refused() {
  local status
  status=$(inside curl --silent --output /dev/null --write-out '%{http_code}' "$(url)/City/x")
  [ "$status" = 401 ] || fail "a request without credentials got $status"
  status=$(inside curl --silent --output /dev/null --write-out '%{http_code}' --user "admin:wrong" "$(url)/City/x")
  [ "$status" = 401 ] || fail "a request with a wrong password got $status"
}
