#!/bin/sh
# Generates the Go code of every .proto file. Needs protoc on the PATH and its
# two Go plugins in .cache/bin: "make setup" provides them.
set -eu
cd "$(dirname "$0")/../.."
PATH="$PWD/.cache/bin:$PATH"
module=github.com/vzreconciler/vzreconciler

find drivers plugins reconciler -name '*.proto' -exec \
	protoc -I . --go_out=. --go_opt=module=$module --go-grpc_out=. --go-grpc_opt=module=$module {} +
