#!/bin/bash
# node-init.sh MODE : PID 1 of the instance's own PID and mount namespace (started by up.sh only).
# When this process ends the kernel ends everything it started (shims and pods too) and drops every mount.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"
mode=$1
pki=$HK_RUN/pki
etcd_url=http://127.0.0.1:$HK_ETCD_PORT
etcd_peer_url=http://127.0.0.1:$((HK_ETCD_PORT + 1))

# run NAME COMMAND... : in the background, output to logs/NAME.log
run() {
  local name=$1
  shift
  "$@" >> "$HK_RUN/logs/$name.log" 2>&1 < /dev/null &
}

# mark WHAT : a line with the time, to see where a start spends it
mark() { echo "$(date +%s.%N) $*" >> "$HK_RUN/logs/marks"; }

kc() { kubectl --kubeconfig "$HK_KUBECONFIG" "$@"; }

# The data is thrown away: nothing needs to reach the disk
start_etcd() {
  run etcd "$HK_BIN/etcd" --name hk --data-dir "$HK_RUN/etcd" --unsafe-no-fsync \
    --listen-client-urls "$etcd_url" --advertise-client-urls "$etcd_url" \
    --listen-peer-urls "$etcd_peer_url" --initial-advertise-peer-urls "$etcd_peer_url" --initial-cluster "hk=$etcd_peer_url"
}

start_apiserver() {
  local where=(--bind-address 127.0.0.1 --advertise-address 127.0.0.1 --endpoint-reconciler-type=none)
  [ "$mode" != node ] || where=(--bind-address 0.0.0.0 --advertise-address "$HK_NODE_IP")
  run kube-apiserver "$HK_BIN/kube-apiserver" --etcd-servers "$etcd_url" --secure-port "$HK_API_PORT" "${where[@]}" \
    --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" --client-ca-file "$pki/ca.crt" \
    --service-account-key-file "$pki/sa.pub" --service-account-signing-key-file "$pki/sa.key" \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-cluster-ip-range "$HK_SVC_CIDR" --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
    --kubelet-client-certificate "$pki/apiserver-kubelet.crt" --kubelet-client-key "$pki/apiserver-kubelet.key" \
    --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
    --requestheader-client-ca-file "$pki/ca.crt" --requestheader-allowed-names front-proxy \
    --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
    --requestheader-extra-headers-prefix X-Remote-Extra- \
    --proxy-client-cert-file "$pki/front-proxy.crt" --proxy-client-key-file "$pki/front-proxy.key" --allow-privileged=true
  wait_for 120 "API server /readyz" kc get --raw /readyz
  mark apiserver-ready
}

# No cloud routes; on a node, IPAM gives it its pod addresses
start_controllers() {
  local addresses=()
  [ "$mode" != node ] || addresses=(--allocate-node-cidrs=true --cluster-cidr "${HK_POD_CIDR%/*}/16" --node-cidr-mask-size 24
    --service-cluster-ip-range "$HK_SVC_CIDR")
  run kube-controller-manager "$HK_BIN/kube-controller-manager" --kubeconfig "$pki/kcm.kubeconfig" \
    --authentication-kubeconfig "$pki/kcm.kubeconfig" --authorization-kubeconfig "$pki/kcm.kubeconfig" \
    --service-account-private-key-file "$pki/sa.key" --root-ca-file "$pki/ca.crt" \
    --cluster-signing-cert-file "$pki/ca.crt" --cluster-signing-key-file "$pki/ca.key" \
    --use-service-account-credentials=true --leader-elect=false --bind-address 127.0.0.1 "${addresses[@]}"
  run kube-scheduler "$HK_BIN/kube-scheduler" --kubeconfig "$pki/scheduler.kubeconfig" \
    --authentication-kubeconfig "$pki/scheduler.kubeconfig" --authorization-kubeconfig "$pki/scheduler.kubeconfig" \
    --bind-address 127.0.0.1 --leader-elect=false
}

trap 'exit 0' TERM INT
mark start
start_etcd
start_apiserver
[ "$mode" = api ] || start_controllers
if [ "$mode" = node ]; then
  # shellcheck source=node-part.sh
  . "$here/node-part.sh"
  start_node
fi
touch "$HK_RUN/init-done"
while :; do
  sleep 3600 &
  wait $! || true
done
