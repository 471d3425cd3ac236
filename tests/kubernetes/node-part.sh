#!/bin/bash
# Sourced by node-init.sh in mode node: container runtime, kubelet, kube-proxy, pod network, DNS.
# shellcheck disable=SC2154  # here, pki, mark, run and kc are node-init.sh's
node=$HK_NAME-node

# fake KEY VALUE : the kubelet wants these kernel settings and would write them for the whole machine;
# here it reads them from files of ours and writes nothing
fake() {
  local file=$HK_RUN/fake/${1//\//_}
  echo "$2" > "$file"
  mount --bind "$file" "/proc/sys/$1"
}

prepare_mounts() {
  mount --make-rshared /                         # only this namespace's own peer group
  mkdir -p /run/containerd /var/log/containers "$HK_RUN"/{kubelet,pod-logs,cni,fake,containerd}
  mount -t tmpfs hk-run /run/containerd          # shim sockets: short paths, gone with the namespace
  mount -t tmpfs hk-log /var/log/containers
  fake vm/overcommit_memory 1
  fake vm/panic_on_oom 0
  fake kernel/panic 10
  fake kernel/panic_on_oops 1
  fake kernel/keys/root_maxkeys 1000000
  fake kernel/keys/root_maxbytes 25000000
}

# containerd_config VERSION : the file of containerd 1.x (2) or 2.x (3). restrict_oom_score_adj: where root lacks
# CAP_SYS_RESOURCE no score can be lowered (runc fails else: "can't get final child's PID from pipe").
containerd_config() {
  cat <<T
version = $1
root = "$HK_RUN/containerd/root"
state = "/run/containerd/state"
disabled_plugins = ["io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.erofs", "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "$HK_RUN/containerd.sock"
T
  if [ "$1" = 2 ]; then cat <<T
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:hk"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$HK_RUN/cni"
T
  else cat <<T
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "localhost/pause:hk"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = "$(command -v runc)"
        SystemdCgroup = false
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "$HK_RUN/cni"
T
  fi
}

cni_config() {
  cat <<T
{"cniVersion": "1.0.0", "name": "hk", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$HK_RUN/cni-ipam", "ranges": [[{"subnet": "$HK_POD_CIDR", "gateway": "$HK_POD_GW"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
T
}

kubelet_config() {
  cat <<T
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$HK_NAME
containerRuntimeEndpoint: unix://$HK_RUN/containerd.sock
podLogsDir: $HK_RUN/pod-logs
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $pki/kubelet-server.crt
tlsPrivateKeyFile: $pki/kubelet-server.key
clusterDomain: cluster.local
clusterDNS: ["$HK_DNS_IP"]
resolvConf: $HK_RUN/resolv.conf
failSwapOn: false
oomScoreAdj: 0
maxPods: 100
evictionHard: {memory.available: 200Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
registryPullQPS: 0
serializeImagePulls: false
nodeStatusUpdateFrequency: 5s
shutdownGracePeriod: 0s
volumePluginDir: $HK_RUN/kubelet/volumeplugins
T
}

proxy_config() {
  cat <<T
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: $HK_PROXY_MODE
clientConnection: {kubeconfig: $pki/proxy.kubeconfig}
clusterCIDR: ${HK_POD_CIDR%/*}/16
hostnameOverride: $node
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0}
T
}

start_containerd() {
  local version=3 image
  case $(containerd --version) in *" 1."*) version=2;; esac
  containerd_config "$version" > "$HK_RUN/containerd.toml"
  cni_config > "$HK_RUN/cni/10-hk.conflist"
  run containerd containerd --config "$HK_RUN/containerd.toml"
  wait_for 60 containerd node_ctr version
  mark containerd-ready
  for image in "$HK_BIN"/images/*.tar; do node_ctr images import "$image" >> "$HK_RUN/logs/import.log" 2>&1; done
  mark images
}

start_kubelet() {
  printf 'nameserver 127.0.0.1\noptions ndots:1\n' > "$HK_RUN/resolv.conf"   # no DNS outside the cluster
  kubelet_config > "$HK_RUN/kubelet.yaml"
  run kubelet "$HK_BIN/kubelet" --config "$HK_RUN/kubelet.yaml" --kubeconfig "$pki/kubelet.kubeconfig" \
    --root-dir "$HK_RUN/kubelet" --hostname-override "$node" --node-ip "$HK_NODE_IP" --v 2
  proxy_config > "$HK_RUN/kube-proxy.yaml"
  run kube-proxy "$HK_BIN/kube-proxy" --config "$HK_RUN/kube-proxy.yaml"
}

node_ready() { [ "$(kc get node "$node" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ]; }

start_node() {
  prepare_mounts
  start_containerd
  start_kubelet
  sed -e "s/@DNS_IP@/$HK_DNS_IP/" "$here/coredns.yaml" | kc apply -f -
  wait_for 120 "node Ready" node_ready
  mark node-ready
  # pods need the default service account's credentials before they can be made
  wait_for 60 "default service account" kc get serviceaccount default
  kc -n kube-system rollout status deployment/coredns --timeout 120s
  mark coredns-ready
}
