#!/bin/sh
# A round of vzreconciler in about a minute: see README.md. KEEP=1 leaves it
# running at the end. Everything lives in a temporary directory.
set -eu
cd "$(dirname "$0")/.."

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$(printf '\033[1m') dim=$(printf '\033[2m') off=$(printf '\033[0m'); else bold='' dim='' off=''; fi
step() { printf '\n%s==> %s%s\n' "$bold" "$*" "$off"; }
show() { printf '%s$ %s%s\n' "$dim" "$*" "$off"; "$@"; }
# says TEXT: waits until hello has said it, which comes a moment after it runs.
says() {
	for _ in $(seq 100); do
		vzctl logs hello | grep -q "$1" && return
		sleep 0.1
	done
}

tmp=$(mktemp -d "${TMPDIR:-/tmp}/vzreconciler-demo.XXXXXX")
folder=$tmp/manifests
export VZ_STATE_DIR="$tmp/state"
PATH="$PWD/bin:$PATH"
daemon=

finish() {
	status=$?
	trap - EXIT INT TERM
	if [ "$status" != 0 ]; then
		printf '\nThe demo failed. The end of %s:\n' "$tmp/daemon.log" >&2
		tail -n 20 "$tmp/daemon.log" >&2 || :
	fi
	if [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; then
		rm -f "$folder"/*.yaml
		vzctl wait --for=delete sandbox --all --timeout=60s >/dev/null 2>&1 || status=1
		kill "$daemon"
		wait "$daemon" || :
	fi
	[ "$status" = 0 ] && rm -rf "$tmp"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step 'A kernel for the VMs'
if [ "$(uname -s)" = Linux ]; then
	show vzctl kernel install --deb "$(ls .cache/debs/linux-image-*.deb | head -n 1)"
else
	show vzctl kernel install
fi

step 'The daemon, watching a folder'
cp -R examples/image "$tmp/image"
cp -R examples/quickstart "$folder"
# The demo ends by removing every manifest at once, which is held back by default.
printf '%s$ vzreconciler --manifests %s &%s\n' "$dim" "$folder" "$off"
vzreconciler --manifests "$folder" --max-prune 100 --metrics-addr 127.0.0.1:0 2>"$tmp/daemon.log" &
daemon=$!
tries=0
until vzctl system status >/dev/null 2>&1; do
	tries=$((tries + 1))
	kill -0 "$daemon" && [ "$tries" -lt 100 ] || exit 1
	sleep 0.1
done

step 'What the folder says becomes true'
vzctl get sandboxes --watch & watch=$!
vzctl wait --for=condition=Ready sandbox --all --timeout=180s >/dev/null
kill "$watch" 2>/dev/null || :
wait "$watch" 2>/dev/null || :
show vzctl get sandboxes -o wide

step 'Its log, and a command in it'
says 'hello from'
show vzctl logs hello
show vzctl exec hello -- uptime
show vzctl exec web -- wget -qO- http://127.0.0.1:8080/

step 'Edit the manifest: hello is made anew, the others are left alone'
show sed -i.orig 's/value: hello$/value: good morning/' "$folder/hello.yaml"
rm -f "$folder/hello.yaml.orig"
show vzctl wait --for='jsonpath={.status.observedGeneration}=2' sandbox/hello --timeout=60s
show vzctl wait --for=condition=Ready sandbox/hello --timeout=120s
says 'good morning'
show vzctl logs hello
show vzctl get sandboxes

step 'Remove the file: the VM is gone'
show rm "$folder/hello.yaml"
show vzctl wait --for=delete sandbox/hello --timeout=60s
show vzctl get sandboxes
show vzctl events sandbox/hello

if [ -n "${KEEP:-}" ]; then
	trap - EXIT INT TERM
	step 'Left running. To look around:'
	cat <<-EOF
		export VZ_STATE_DIR=$VZ_STATE_DIR PATH=$PWD/bin:\$PATH
		vzctl get sandboxes -o wide
		vzctl describe web
		vzctl exec -it agent -- sh
		vi $folder/web-pod.yaml       # edit, save, watch: vzctl get sandboxes -w

		To end it:
		rm $folder/*.yaml && vzctl wait --for=delete sandbox --all && kill $daemon && rm -r $tmp
	EOF
	exit 0
fi

step 'Done: the rest is removed the same way'
