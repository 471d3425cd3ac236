#!/bin/bash
# images.sh : builds localhost/harper-server:dev and localhost/harper-operator:dev from the static release binaries with
# buildah and no registry, as OCI archives in $HK_DIR/images; prints their compressed sizes and fails above the limit.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"
root=$(cd "$here/../.." && pwd)
binaries=${HARPER_BINARIES:-${CARGO_TARGET_DIR:-$root/target}/x86_64-unknown-linux-musl/release}
archive_mib_max=15

# The tree that the Dockerfile's stage `prebuilt` copies
lay_out() {
  local binary
  rm -rf "$root/target/image"
  mkdir -p "$root/target/image/empty"
  for binary in harper-server harper-operator; do
    [ -x "$binaries/$binary" ] || die "$binaries/$binary is missing: build the static release binaries first"
    if ldd "$binaries/$binary" 2>/dev/null | grep -q '=>'; then die "$binaries/$binary is not static"; fi
    cp "$binaries/$binary" "$root/target/image/"
  done
  cp /etc/ssl/certs/ca-certificates.crt "$root/target/image/"
}

# vfs: works in any container and filesystem; the images are small
bah() { buildah --root "$scratch/store" --runroot "$scratch/run" --storage-driver vfs "$@"; }

# build STAGE
build() {
  local image=localhost/harper-$1:dev archive=$HK_DIR/images/harper-$1.tar bytes
  bah bud --quiet --pull-never --isolation chroot --build-arg BINARIES=prebuilt --build-arg "REVISION=$revision" \
    --file "$root/deploy/Dockerfile" --target "$1" --tag "$image" "$root" > "$scratch/build.log" 2>&1 ||
    { tail -n 30 "$scratch/build.log" >&2; die "buildah bud --target $1"; }
  rm -f "$archive"
  bah push --quiet "$image" "oci-archive:$archive:$image" > "$scratch/push.log" 2>&1 ||
    { tail -n 30 "$scratch/push.log" >&2; die "buildah push $image"; }
  bytes=$(stat -c %s "$archive")
  echo "$image $((bytes * 10 / 1048576 / 10)).$((bytes * 10 / 1048576 % 10)) MiB compressed  $archive"
  [ "$bytes" -le $((archive_mib_max * 1048576)) ] || die "$image is larger than $archive_mib_max MiB"
}

need buildah buildah
[ -e /etc/ssl/certs/ca-certificates.crt ] || debs ca-certificates
mkdir -p "$HK_DIR/images"
scratch=$(mktemp -d "$HK_DIR/images/build.XXXXXX")
trap 'rm -rf --one-file-system "$scratch"' EXIT
revision=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)
lay_out
build server
build operator
