#!/bin/sh
# Provides what building, testing and the demo need, and says what it installs.
# "setup.sh run" is enough for the demo, "setup.sh dev" adds what tests and
# checks use. Nothing that is there already is installed again.
set -eu
cd "$(dirname "$0")/../.."
want=${1:-dev}
cache=$PWD/.cache
mkdir -p "$cache/bin" "$cache/debs" "$cache/root"

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

command -v go >/dev/null || die "Go is not installed: see https://go.dev/dl (at least the version go.mod names)"

# debian_install PACKAGE…: installs with apt those that are missing.
debian_install() {
	missing=
	for p in "$@"; do
		dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
	done
	[ -n "$missing" ] || return 0
	say "installing Debian packages:$missing"
	as_root apt-get update -qq
	# shellcheck disable=SC2086 # a list on purpose
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# debian_unpack PACKAGE: downloads a package into the cache without installing
# it, so that no service is started and no boot loader is changed.
debian_unpack() {
	ls "$cache/debs/$1"_*.deb >/dev/null 2>&1 && return 0
	say "downloading Debian package $1 (not installed)"
	(cd "$cache/debs" && apt-get download -qq "$1" 2>/dev/null) ||
		{ as_root apt-get update -qq && (cd "$cache/debs" && apt-get download -qq "$1"); }
}

# debian_foreign ARCH PACKAGE…: downloads packages of another architecture into
# the cache, with package lists of its own: apt's stay as they are. For a package
# linux-image-… it is the kernel that this depends on.
debian_foreign() {
	arch=$1 debs=$cache/debs-$1 own=$cache/apt-$1
	shift
	mkdir -p "$debs" "$own/lists/partial" "$own/archives/partial"
	# apt drops its rights otherwise, and could not write here.
	cat >"$own/apt.conf" <<-END
		APT::Architecture "$arch";
		APT::Architectures { "$arch"; };
		APT::Sandbox::User "$(id -un)";
		Dir::State::lists "$own/lists";
		Dir::State::status "/dev/null";
		Dir::Cache "$own";
	END
	for p in "$@"; do
		ls "$debs/${p%-cloud-*}"[-_]*.deb >/dev/null 2>&1 && continue
		say "downloading Debian package $p for $arch (not installed)"
		(
			export APT_CONFIG="$own/apt.conf"
			cd "$debs"
			apt-get -qq update
			case $p in linux-image-*) p=$(apt-cache depends "$p" | sed -n 's/.*Depends: \(linux-image-.*\)/\1/p' | head -n 1) ;; esac
			apt-get -qq download "$p"
		)
	done
}

# go_tool PATH: builds a development tool at the version internal/tools/gotools/go.mod pins.
go_tool() {
	[ -x "$cache/bin/$(basename "$1")" ] && [ "$cache/bin/$(basename "$1")" -nt internal/tools/gotools/go.mod ] && return 0
	say "building $(basename "$1")"
	(cd internal/tools/gotools && GOBIN="$cache/bin" go install "$1")
	touch "$cache/bin/$(basename "$1")"
}

case $(uname -s) in
Linux)
	command -v apt-get >/dev/null || die "this script knows Debian and Ubuntu; elsewhere install QEMU (x86_64 or aarch64 system emulation), busybox (static), skopeo, protoc, e2fsprogs, git and docker-registry by hand"
	case $(dpkg --print-architecture) in
	amd64) qemu=qemu-system-x86 ;;
	arm64) qemu=qemu-system-arm ;;
	*) die "no guest kernel for $(dpkg --print-architecture)" ;;
	esac
	virtiofsd= # of host folders: up to Debian 12 QEMU's packages bring it along
	[ -z "$(apt-cache search --names-only '^virtiofsd$')" ] || virtiofsd=virtiofsd
	debian_install "$qemu" busybox-static $virtiofsd
	kernel=$(apt-cache depends "linux-image-cloud-$(dpkg --print-architecture)" 2>/dev/null | sed -n 's/.*Depends: \(linux-image-.*\)/\1/p' | head -n 1)
	if [ -z "$kernel" ]; then
		as_root apt-get update -qq
		kernel=$(apt-cache depends "linux-image-cloud-$(dpkg --print-architecture)" | sed -n 's/.*Depends: \(linux-image-.*\)/\1/p' | head -n 1)
	fi
	[ -n "$kernel" ] || die "no package linux-image-cloud-$(dpkg --print-architecture) in apt's lists"
	ls "$cache"/debs/linux-image-*.deb >/dev/null 2>&1 || debian_unpack "$kernel"
	if [ "$want" = dev ]; then
		debian_install git openssh-client gnupg skopeo e2fsprogs protobuf-compiler libprotobuf-dev tmux ruby
		if [ "$qemu" = qemu-system-x86 ]; then
			# One test boots an arm64 guest.
			debian_install qemu-system-arm
			debian_foreign arm64 linux-image-cloud-arm64 busybox-static
		fi
		for p in docker-registry prometheus; do
			debian_unpack "$p"
			dpkg-deb --fsys-tarfile "$cache"/debs/"$p"_*.deb | tar -x -C "$cache/root" --wildcards './usr/bin/*'
		done
	fi
	;;
Darwin)
	# Not yet run on a Mac.
	xcode-select -p >/dev/null 2>&1 || die "Xcode's command-line tools are missing: run xcode-select --install"
	command -v brew >/dev/null || die "Homebrew is missing: see https://brew.sh"
	for f in qemu $([ "$want" = dev ] && echo skopeo protobuf e2fsprogs gnupg); do
		brew list --formula "$f" >/dev/null 2>&1 || { say "installing Homebrew formula $f"; brew install --quiet "$f"; }
	done
	;;
*) die "no support for $(uname -s)" ;;
esac

if [ "$want" = dev ]; then
	go_tool google.golang.org/protobuf/cmd/protoc-gen-go
	go_tool google.golang.org/grpc/cmd/protoc-gen-go-grpc
	go_tool golang.org/x/vuln/cmd/govulncheck
	go_tool github.com/golangci/golangci-lint/v2/cmd/golangci-lint
fi
say "done"
