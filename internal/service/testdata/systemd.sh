#!/bin/sh
# Runs a command under a user's systemd of its own, in a mount and PID namespace
# that unshare made: systemd.sh "CGROUP…" COMMAND [ARG…]. The host's systemd, if it
# has one, has no part in it.
set -eu
for group in $1; do echo $$ >"$group/cgroup.procs"; done
shift
# Without this systemd takes the host for one that it does not run.
mkdir -p /run/systemd
mount -t tmpfs none /run/systemd
mkdir /run/systemd/system
unset DBUS_SESSION_BUS_ADDRESS NOTIFY_SOCKET
/lib/systemd/systemd --user --log-target=console >"$XDG_RUNTIME_DIR/log" 2>&1 &
code=0
"$@" || code=$?
[ "$code" = 0 ] || tail -n 50 "$XDG_RUNTIME_DIR/log" >&2
exit "$code"
