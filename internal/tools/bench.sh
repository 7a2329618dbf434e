#!/bin/sh
# Run by "make bench".
set -eu
cd "$(dirname "$0")/../.."
bench() { go run ./internal/tools/bench -kernel "$(ls .cache/debs/linux-image-*.deb | head -n 1)" -busybox "$(command -v busybox)" "$@"; }
bench "$@"
# 1 GiB once, too long for a test.
bench -only copies -copies 1 -copy-size 1024
mkdir -p docs/assets
go run ./internal/tools/benchfleet -plot docs/assets/objects.svg
go test -run '^$' -bench . -benchmem -benchtime 1s ./manifests/... ./reconciler/... ./internal/... ./drivers/wire/... | grep -v '^ok\|no test files'
# The same with controller-runtime, in a module of its own.
(cd internal/tools/benchcontroller && go test -run '^$' -bench . -benchmem -benchtime 1s)
