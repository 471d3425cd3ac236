#!/bin/bash
# mkpki.sh DIR : CA, serving certificates, client certificates and kubeconfigs (EC keys; about a second in all)
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
mkdir -p "$1"
cd "$1"
[ ! -e .done ] || exit 0
umask 077

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

# cert NAME SUBJECT USAGE [ALTERNATIVE-NAMES]
cert() {
  key "$1"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  { echo "basicConstraints=critical,CA:FALSE"; echo "keyUsage=critical,digitalSignature"; echo "extendedKeyUsage=$3"
    [ -z "${4:-}" ] || echo "subjectAltName=$4"; } > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -sha256 -days 3650 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
  rm -f "$1.csr" "$1.ext"
}

# kubeconfig USER : with everything inlined
kubeconfig() {
  cat > "$1.kubeconfig" <<K
apiVersion: v1
kind: Config
current-context: hk
clusters: [{name: hk, cluster: {server: "https://127.0.0.1:$HK_API_PORT", certificate-authority-data: "$(base64 -w0 < ca.crt)"}}]
users: [{name: $1, user: {client-certificate-data: "$(base64 -w0 < "$1.crt")", client-key-data: "$(base64 -w0 < "$1.key")"}}]
contexts: [{name: hk, context: {cluster: hk, user: $1}}]
K
}

key ca
openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj /CN=hk-ca -out ca.crt \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
cert apiserver /CN=kube-apiserver serverAuth \
  "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$HK_NODE_IP,IP:$HK_API_SVC_IP"
cert kubelet-server "/O=system:nodes/CN=system:node:$HK_NAME-node" serverAuth "DNS:$HK_NAME-node,IP:127.0.0.1,IP:$HK_NODE_IP"
cert admin /O=system:masters/CN=hk-admin clientAuth
cert kcm /CN=system:kube-controller-manager clientAuth
cert scheduler /CN=system:kube-scheduler clientAuth
cert proxy /CN=system:kube-proxy clientAuth
cert kubelet "/O=system:nodes/CN=system:node:$HK_NAME-node" clientAuth
cert apiserver-kubelet /O=system:masters/CN=hk-apiserver-kubelet clientAuth
cert front-proxy /CN=front-proxy clientAuth
openssl genrsa -out sa.key 2048 2>/dev/null
openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
for user in admin kcm scheduler proxy kubelet; do kubeconfig "$user"; done
touch .done
