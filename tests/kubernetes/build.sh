#!/bin/bash
# build.sh [control|node|helm|all]... : builds and installs what up.sh and the tests need into $HK_BIN (default: node helm).
#   control  etcd, kube-apiserver, kube-controller-manager, kube-scheduler (one program, "hk", also kubelet and kube-proxy);
#            kubectl too where the machine has none
#   node     control, and containerd, runc and CNI plugins from Debian, the pause and CoreDNS images
#   helm     helm
# Needs the Go module proxy and Debian's packages. Idempotent: a stamp for each part holds what it was built from.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"
export GOFLAGS="-buildvcs=false -mod=readonly -trimpath" CGO_ENABLED=0 GOTOOLCHAIN=local
jobs=${HK_JOBS:-$(nproc)}
TIMEFORMAT='%0R s wall, %0U s user, %0S s sys'

# once STAMP KEY FUNCTION FILE... : runs FUNCTION unless it was done with the same KEY and each FILE is there
once() {
  local stamp=$HK_DIR/stamps/$1 key=$2 function=$3 file fresh=1
  shift 3
  [ "$(cat "$stamp" 2>/dev/null)" = "$key" ] || fresh=
  for file in "$@"; do [ -e "$HK_BIN/$file" ] || fresh=; done
  [ -z "$fresh" ] || return 0
  rm -f "$stamp"
  log "$function ..."
  time "$function"
  echo "$key" > "$stamp"
}

hash_of() { cat "$@" | sha256sum | cut -c1-16; }

# version_of MODULE IMPORT : the version without its v that mod/MODULE/go.mod requires
version_of() { sed -n "s|^\(require\)\?[[:space:]]*$2 v\([^ ]*\).*|\2|p" "$here/mod/$1/go.mod" | head -n 1; }

# go_build MODULE PACKAGE [LDFLAGS] : builds $HK_BIN/MODULE, replaced in one step
go_build() {
  local build_log=$HK_DIR/build-$1.log
  (cd "$here/mod/$1" && nice -n "${HK_NICE:-10}" go build -p "$jobs" -ldflags "-s -w ${3-}" -o "$HK_BIN/.new-$1" "$2") \
    > "$build_log" 2>&1 || { tail -n 30 "$build_log" >&2; die "go build of $1 (log: $build_log)"; }
  mv "$HK_BIN/.new-$1" "$HK_BIN/$1"
}

# version_flags VERSION : what Kubernetes programs say of themselves
version_flags() {
  local minor=${1#1.} package
  minor=${minor%%.*}
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    printf ' -X %s' "$package.gitVersion=v$1" "$package.gitMajor=1" "$package.gitMinor=$minor" \
      "$package.gitTreeState=clean" "$package.gitCommit=unknown" "$package.buildDate=1970-01-01T00:00:00Z"
  done
}

build_hk() {
  local name
  go_build hk . "$(version_flags "$(version_of hk k8s.io/kubernetes)")"
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do ln -sf hk "$HK_BIN/$name"; done
}

build_kubectl() {
  local version
  version=$(version_of kubectl k8s.io/kubectl)
  go_build kubectl . "$(version_flags "1.${version#0.}")"
}

build_pause() {
  gcc -Os -s -static -o "$HK_BIN/pause" "$here/pause.c"
  "$here/mkimage.py" "$HK_BIN/images/pause.tar" localhost/pause:hk "$HK_BIN/pause=/pause" --entrypoint /pause
}

build_coredns() {
  go_build coredns .
  "$here/mkimage.py" "$HK_BIN/images/coredns.tar" localhost/coredns:hk "$HK_BIN/coredns=/coredns" --entrypoint /coredns
}

build_helm() {
  go_build helm helm.sh/helm/v3/cmd/helm "-X helm.sh/helm/v3/internal/version.version=v$(version_of helm helm.sh/helm/v3)"
}

control() {
  once hk "$(hash_of "$here"/mod/hk/{main.go,go.mod})" build_hk hk etcd kube-apiserver kubelet
  command -v kubectl >/dev/null || once kubectl "$(hash_of "$here"/mod/kubectl/{main.go,go.mod})" build_kubectl kubectl
}

node() {
  debs runc containernetworking-plugins iptables nftables conntrack ethtool socat iproute2 openssl gcc libc6-dev
  need containerd containerd
  need python3 python3-minimal
  once pause "$(hash_of "$here"/pause.c "$here"/mkimage.py)" build_pause images/pause.tar
  once coredns "$(hash_of "$here"/mod/coredns/{main.go,go.mod} "$here"/mkimage.py)" build_coredns images/coredns.tar
}

helm() { once helm "$(hash_of "$here"/mod/helm/go.mod)" build_helm helm; }

command -v go >/dev/null || die "go is not on the PATH (1.26 or newer)"
mkdir -p "$HK_BIN/images" "$HK_DIR/stamps"
[ $# -gt 0 ] || set -- node helm
for part in "$@"; do
  case $part in
    control) control;;
    node) control; node;;
    helm) helm;;
    all) control; node; helm;;
    *) die "unknown part $part: control, node, helm or all";;
  esac
done
