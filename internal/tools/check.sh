#!/bin/sh
# The checks that no Go linter makes. Run by "make check".
set -eu
cd "$(dirname "$0")/../.."
PATH="$PWD/.cache/bin:$PATH"

fail() { printf 'check: %s\n' "$*" >&2; exit 1; }

# Generated files say what their sources say.
internal/tools/generate.sh
go generate ./...
git diff --exit-code --stat -- '*.pb.go' manifests docs || fail 'generated files are stale: run "make generate" and commit'

# Imports go one way: cmd → reconciler → plugins → drivers; manifests and
# internal import none of these.
module=github.com/vzreconciler/vzreconciler
go list -f '{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}{{"\n"}}{{end}}' ./... | awk -v m="$module/" '
	index($1, m) != 1 || index($2, m) != 1 { next }
	{
		split(substr($1, length(m) + 1), from, "/"); split(substr($2, length(m) + 1), to, "/")
		f = from[1]; t = to[1]
		floor["cmd"] = 4; floor["reconciler"] = 3; floor["plugins"] = 2; floor["drivers"] = 1
		bad = 0
		if ((f in floor) && (t in floor) && floor[t] > floor[f]) bad = 1
		if (f == "manifests" && t != "manifests" && t != "internal") bad = 1
		if (f == "internal" && from[2] != "tools" && t != "internal") bad = 1
		if ((f == "drivers" || f == "plugins") && t == "manifests") bad = 1
		if (bad) { print "check: " $1 " must not import " $2; found = 1 }
	}
	END { exit found }'

# Every direct dependency has a line that says why, and only those have one.
modules=$(go list -m -f '{{if not (or .Main .Indirect)}}{{.Path}}{{end}}' all | sed '/^$/d' | sort)
listed=$(sed -n 's/^| \([a-z][^ ]*\.[^ ]*\) |.*/\1/p' docs/dependencies.md | sort)
[ "$modules" = "$listed" ] || {
	printf '%s\n' "$modules" >.cache/modules && printf '%s\n' "$listed" | diff .cache/modules - || fail 'docs/dependencies.md differs from go.mod (< is missing, > is too much)'
}

# What only a Mac can build fits the API it is written against, and so does what
# stands in for that API on Linux.
go run ./internal/tools/vzcheck -lookalike drivers/vz/internal/lookalike ./drivers/vz ./plugins/runtime-vz ||
	fail 'the macOS build does not type-check'
(cd drivers/vz/internal/lookalike && go vet . && go test .)

ruby -c packaging/homebrew/vzreconciler.rb >/dev/null || fail 'the Homebrew formula does not parse'

# The lint that needs the network's vulnerability database is advice, not a gate.
govulncheck ./... || printf 'check: govulncheck found something or could not reach its database\n' >&2
