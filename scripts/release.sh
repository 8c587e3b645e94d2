#!/usr/bin/env bash
# Build what a release is made of into dist/: a static program and a package for
# each architecture, and SHA256SUMS. The same source gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(scripts/version.sh)
export VERSION=$version
rm -rf dist
mkdir dist
for arch in amd64 arm64; do
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -trimpath -ldflags "-s -w -X main.version=$version" \
		-o "dist/syncfs_${version}_linux_$arch" ./cmd/syncfs
	scripts/deb.sh "$arch"
done
(cd dist && sha256sum syncfs_* >SHA256SUMS)
cat dist/SHA256SUMS
