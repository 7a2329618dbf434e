//go:build linux

package guest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

func (v *vm) testVolumes(t *testing.T) {
	v.sh(t, mainCtr, "echo shared >/data/file; chmod 600 /data/file; echo below >/data/below/it/file")
	if got := v.sh(t, readOnly, "cat /shared/file /seen/file /seen/made/up/file; stat -c %a /shared"); got != "shared\nshared\nbelow\n777\n" {
		t.Errorf("the other container sees %q", got)
	}
	if got := v.sh(t, readOnly, "echo x 2>&1 >/seen/new || true"); !strings.Contains(got, "Read-only") {
		t.Errorf("a read-only mount takes writes: %q", got)
	}
	if got, want := v.sh(t, mainCtr, "cat /etc/conf/plain /etc/conf/deep/secret /etc/one; stat -c %a /etc/conf/plain /etc/conf/deep/secret"),
		"plain\nsecret\nplain\n644\n400\n"; got != want {
		t.Errorf("files = %q, want %q", got, want)
	}
	if got := v.sh(t, mainCtr, "(echo x >/etc/conf/plain) 2>&1 || true; (echo x >/etc/one) 2>&1 || true"); strings.Count(got, "Read-only") != 2 {
		t.Errorf("a volume of files takes writes: %q", got)
	}
	if got := v.sh(t, mainCtr, "head -c 2000000 /dev/zero 2>&1 >/mem/big || true; stat -c %s /mem/big; rm /mem/big"); !strings.Contains(got, "1048576") {
		t.Errorf("a volume of 1 MiB holds %q", got)
	}
	v.sh(t, mainCtr, "echo volume >/data/kept")
}

func (v *vm) testOwnDisk(t *testing.T) {
	got := v.sh(t, mainCtr, "ls -A /own; stat -c '%u %g %a' /own; echo own >/own/kept; df -m /own | tail -n 1 | awk '{print ($2 > 80)}'")
	if want := "0 0 777\n1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func (v *vm) testReadOnlyRootfs(t *testing.T) {
	got := v.sh(t, readOnly, "for f in /x /etc/x /bin/x; do (echo x >$f) 2>&1 || true; done; echo ok >/dev/shm/x; cat /dev/shm/x")
	if strings.Count(got, "Read-only") != 3 || !strings.HasSuffix(got, "ok\n") {
		t.Errorf("writes: %q", got)
	}
}

func (v *vm) testEtc(t *testing.T) {
	want := "sandbox\nsandbox\n" +
		"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tsandbox\n192.0.2.7\tdb db.local\n" +
		"nameserver 192.0.2.1\nsearch example.org example.com\noptions ndots:2\n"
	if got := v.sh(t, mainCtr, "hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf"); got != want {
		t.Errorf("files = %q, want %q", got, want)
	}
	if got := v.sh(t, mainCtr, "ping -c 1 -W 5 127.0.0.1 >/dev/null && echo up"); got != "up\n" {
		t.Errorf("the loopback interface does not work: %q", got)
	}
}

func (v *vm) testSysctls(t *testing.T) {
	got := v.sh(t, mainCtr, "cd /proc/sys; cat net/core/somaxconn kernel/shm_rmid_forced vm/overcommit_memory vm/max_map_count net/ipv4/ip_unprivileged_port_start")
	if want := "1234\n1\n1\n262144\n0\n"; got != want {
		t.Errorf("sysctls = %q, want %q", got, want)
	}
}

func (v *vm) testMasked(t *testing.T) {
	if got := v.sh(t, mainCtr, "cat /proc/kcore /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l"); got != "0\n0\n" {
		t.Errorf("masked files hold %q", got)
	}
	for _, path := range []string{"/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/sys/fs/cgroup/cgroup.procs"} {
		if r := v.exec(t, "x", mainCtr, sh("echo 1 >"+path)); r.exit.Code == 0 {
			t.Errorf("%s takes writes", path)
		}
	}
}

func (v *vm) testDevices(t *testing.T) {
	if got, want := v.sh(t, mainCtr, "ls /dev | tr '\\n' ' '"), "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero "; got != want {
		t.Errorf("/dev = %q, want %q", got, want)
	}
	v.sh(t, mainCtr, "echo x >/dev/null; head -c 4 /dev/zero >/dev/null; head -c 4 /dev/urandom >/dev/null; mkdir -p /dev/shm/d")
	// A container may make device nodes; they open nothing.
	for _, dir := range []string{"/", "/dev", "/dev/shm", "/data", "/mem"} {
		r := v.exec(t, "x", mainCtr, sh("rm -f "+dir+"/node; mknod "+dir+"/node b 254 0 && head -c 512 "+dir+"/node; rm -f "+dir+"/node"))
		if r.out != "" || !strings.Contains(r.err, "Permission denied") {
			t.Errorf("a device node in %s: %q, %q", dir, r.out, r.err)
		}
	}
}

func (v *vm) testNamespaces(t *testing.T) {
	if got := v.sh(t, mainCtr, "cat /proc/1/cmdline | tr '\\0' ' '; cat /proc/self/cgroup; ls /run 2>/dev/null | wc -l"); got != "tail -f /dev/null 0::/\n0\n" {
		t.Errorf("in the container: %q", got)
	}
	if got := v.sh(t, mainCtr, "ls /proc | grep -c '^[0-9]'"); len(got) > 3 {
		t.Errorf("%s processes are to be seen", got)
	}
	if got := v.sh(t, mainCtr, "grep -c -e /run/disk -e initramfs /proc/self/mountinfo || true; chroot / true; ls /modules 2>&1 || true"); !strings.Contains(got, "No such file") {
		t.Errorf("the guest's own files: %q", got)
	}
	// Descriptors of the agent's would be seen here.
	if got := v.sh(t, mainCtr, "ls /proc/self/fd | wc -l"); strings.TrimSpace(got) != "4" {
		t.Errorf("%s descriptors are open, want 4 (ls has one of its own)", got)
	}
}

// evilImage has links where the guest mounts and reads.
func evilImage(t *testing.T) func(dir string) {
	return func(dir string) {
		for _, name := range []string{"etc/passwd", "etc/group"} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		// A pipe without a writer keeps its reader waiting.
		if err := unix.Mkfifo(filepath.Join(dir, "etc/passwd"), 0o644); err != nil {
			t.Fatal(err)
		}
		link(t, "/dev/zero", filepath.Join(dir, "etc/group"))
		link(t, "../../../../../../run/guest/resolv.conf", filepath.Join(dir, "etc/resolv.conf"))
		link(t, "/run/disk/hosts", filepath.Join(dir, "etc/hosts"))
		link(t, "loop", filepath.Join(dir, "loop"))
		link(t, "/run/disk", filepath.Join(dir, "linked"))
		link(t, "../../../../..", filepath.Join(dir, "up"))
	}
}

func (v *vm) testEvil(t *testing.T) {
	spec := sh("grep Uid /proc/self/status; grep -c . /etc/resolv.conf; grep db.local /etc/hosts; cat /etc/hostname; grep -o -e ' /[a-z/]*sub ' /proc/mounts")
	spec.User = "5:6"
	r := v.exec(t, evil, evil, spec)
	// Links were followed within the container's root, which is what ".." ends at.
	if want := "Uid:\t5\t5\t5\t5\n3\n192.0.2.7\tdb db.local\nsandbox\n /run/disk/sub \n /sub \n"; r.out != want {
		t.Errorf("output = %q, want %q (%s)", r.out, want, r.err)
	}
	spec.User = "user"
	if _, err := v.try(t, evil, evil, spec, drivers.Stdio{}); !errors.Is(err, drivers.ErrInvalidArgument) {
		t.Errorf("a user of accounts that cannot be read: %v, want %v", err, drivers.ErrInvalidArgument)
	}
	// A link that goes in circles cannot be mounted at: said, not hung.
	if _, err := v.try(t, circle, circle, sh(""), drivers.Stdio{}); !errors.Is(err, drivers.ErrInvalidArgument) || !strings.Contains(err.Error(), "/loop/sub") {
		t.Errorf("error = %v, want %v with the place", err, drivers.ErrInvalidArgument)
	}
	// What a container puts into a volume leads no sub-path out of it.
	v.sh(t, mainCtr, "ln -s /etc /data/out; ln -s ../../../.. /data/above")
	r = v.exec(t, subPaths, subPaths, sh("ls /one /two; mount | grep -c -e ' /one ' -e ' /two '"))
	if want := "/one:\n\n/two:\n2\n"; r.out != want {
		t.Errorf("output = %q, want %q (%s)", r.out, want, r.err)
	}
	v.sh(t, mainCtr, "ls -d /data/etc/deep /data/bin && rm -r /data/etc /data/bin /data/out /data/above")
}

func (v *vm) testOOM(t *testing.T) {
	r := v.exec(t, small, small, drivers.ProcessSpec{Args: []string{"tail", "/dev/zero"}})
	if !r.exit.OOMKilled || r.exit.Code != 137 || r.exit.Signal != 9 {
		t.Errorf("exit = %+v, want OOMKilled and 137", r.exit)
	}
	if r := v.exec(t, small, small, sh("exit 1")); r.exit.OOMKilled {
		t.Errorf("exit = %+v after an earlier kill, want no OOMKilled", r.exit)
	}
}

func (v *vm) testRestart(t *testing.T) {
	r := v.exec(t, other, other, sh("echo $$ $(cat /count 2>/dev/null || echo 0); echo 1 >/count; mount | grep -c shm; echo x >/dev/shm/x"))
	if r.out != "1 0\n1\n" {
		t.Errorf("first run: %q, %q", r.out, r.err)
	}
	r = v.exec(t, other, other, sh("echo $$ $(cat /count); ls /dev/shm; rm /count"))
	if r.out != "1 1\n" {
		t.Errorf("second run: %q, %q", r.out, r.err)
	}
	v.sh(t, mainCtr, "echo layer >/kept")
}

func (v *vm) testInitExit(t *testing.T) {
	running := make(chan struct{})
	initDone := make(chan drivers.ExitStatus, 1)
	go func() {
		exit, err := v.run(t.Context(), other, other, sh("trap 'exit 9' TERM; while :; do sleep 0.05; done"), drivers.Stdio{},
			func(*wire.Started) { close(running) })
		if err != nil {
			t.Error(err)
		}
		initDone <- exit
	}()
	<-running
	joined := make(chan struct{})
	joinedDone := make(chan drivers.ExitStatus, 1)
	go func() {
		exit, err := v.run(t.Context(), "joined", other, sh("sleep 4000"), drivers.Stdio{}, func(*wire.Started) { close(joined) })
		if err != nil {
			t.Error(err)
		}
		joinedDone <- exit
	}()
	<-joined
	if _, err := v.Agent.Signal(t.Context(), &agentpb.SignalRequest{Id: other, Signal: int32(unix.SIGTERM)}); err != nil {
		t.Error(err)
	}
	if exit := <-initDone; exit.Code != 9 {
		t.Errorf("init: %+v, want code 9", exit)
	}
	if exit := <-joinedDone; exit.Code != 137 {
		t.Errorf("joined: %+v, want code 137", exit)
	}
	// Cancelling the init process ends it, whatever it catches.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := v.run(ctx, other, other, sh("trap '' TERM INT; while :; do sleep 0.05; done"), drivers.Stdio{}, func(*wire.Started) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want %v", err, context.Canceled)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		r, err := v.try(t, other, other, sh("exit 3"), drivers.Stdio{})
		if err == nil && r.exit.Code == 3 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the container cannot be run again: %+v, %v", r, err)
		}
	}
}

func (v *vm) testStatistics(t *testing.T) {
	v.sh(t, mainCtr, "head -c 3000000 /dev/urandom >/burn; sync; rm /burn")
	m, err := v.Agent.Statistics(t.Context(), &agentpb.StatisticsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	s := wire.ToStatistics(m)
	main := s.Containers[mainCtr]
	if main.CPUUsec == 0 || main.MemoryBytes == 0 || main.Processes < 1 || main.BlockWriteBytes == 0 {
		t.Errorf("main = %+v", main)
	}
	if got := s.Containers[small].MemoryLimitBytes; got != 16<<20 {
		t.Errorf("memory limit of small = %d", got)
	}
	if s.Sandbox.CPUUsec < main.CPUUsec || s.Sandbox.MemoryBytes == 0 || s.Sandbox.MemoryLimitBytes < 100<<20 ||
		s.Sandbox.Processes < 2 || s.Sandbox.BlockReadBytes == 0 || s.Sandbox.BlockWriteBytes == 0 {
		t.Errorf("sandbox = %+v", s.Sandbox)
	}
	if got := v.exec(t, small, small, sh("cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/memory.max")).out; got != "50000 100000\n16777216\n" {
		t.Errorf("limits of small = %q", got)
	}
}

func (v *vm) testUpdate(t *testing.T) {
	update := func(live *wire.Live) error {
		_, err := v.Agent.Update(t.Context(), live)
		return wire.FromStatus(err)
	}
	defer func() {
		if err := update(&wire.Live{
			Limits:      []*wire.ContainerLimits{{Container: mainCtr}, {Container: small, CpuMillis: 500, MemoryBytes: 16 << 20}},
			Nameservers: []string{"192.0.2.1"}, Searches: []string{"example.org", "example.com"}, DnsOptions: []string{"ndots:2"},
			HostAliases: []*wire.HostAlias{{Ip: "192.0.2.7", Hostnames: []string{"db", "db.local"}}},
		}); err != nil {
			t.Error(err)
		}
	}()
	if err := update(&wire.Live{
		Limits:      []*wire.ContainerLimits{{Container: mainCtr, CpuMillis: 250, MemoryBytes: 48 << 20}},
		Nameservers: []string{"192.0.2.2"}, HostAliases: []*wire.HostAlias{{Ip: "192.0.2.8", Hostnames: []string{"other"}}},
	}); err != nil {
		t.Fatal(err)
	}
	want := "25000 100000\n50331648\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tsandbox\n192.0.2.8\tother\nnameserver 192.0.2.2\n"
	if got := v.sh(t, mainCtr, "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/memory.max /etc/hosts /etc/resolv.conf"); got != want {
		t.Errorf("it has %q, want %q", got, want)
	}
	// What a container holds and cannot give up is not taken from it.
	v.sh(t, mainCtr, "head -c 8000000 /dev/zero >/dev/shm/held")
	err := update(&wire.Live{Limits: []*wire.ContainerLimits{{Container: mainCtr, MemoryBytes: 4 << 20}}})
	if !errors.Is(err, drivers.ErrExhausted) || !strings.Contains(err.Error(), mainCtr) {
		t.Errorf("a limit below what is used: %v", err)
	}
	if got := v.sh(t, mainCtr, "rm /dev/shm/held; cat /sys/fs/cgroup/memory.max"); got != "50331648\n" {
		t.Errorf("the limit is then %q", got)
	}
	if err := update(&wire.Live{Limits: []*wire.ContainerLimits{{Container: "nosuch"}}}); !errors.Is(err, drivers.ErrNotFound) {
		t.Errorf("a container that is not there: %v", err)
	}
}

func (v *vm) testSetTime(t *testing.T) {
	defer func() {
		if _, err := v.Agent.SetTime(t.Context(), &agentpb.SetTimeRequest{Time: timestamppb.Now()}); err != nil {
			t.Error(err)
		}
	}()
	want := time.Date(2033, 3, 4, 5, 6, 7, 0, time.UTC)
	if _, err := v.Agent.SetTime(t.Context(), &agentpb.SetTimeRequest{Time: timestamppb.New(want)}); err != nil {
		t.Fatal(err)
	}
	sec, err := strconv.ParseInt(strings.TrimSpace(v.sh(t, mainCtr, "date +%s")), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if got := time.Unix(sec, 0); got.Sub(want).Abs() > 20*time.Second {
		t.Errorf("clock = %v, want %v", got, want)
	}
	_, err = v.Agent.SetTime(t.Context(), &agentpb.SetTimeRequest{Time: &timestamppb.Timestamp{Nanos: -1}})
	if err := wire.FromStatus(err); !errors.Is(err, drivers.ErrInvalidArgument) {
		t.Errorf("error = %v, want %v", err, drivers.ErrInvalidArgument)
	}
}

func (v *vm) testGrown(t *testing.T) {
	kib, err := strconv.Atoi(strings.TrimSpace(v.sh(t, mainCtr, "df -k / | tail -1 | awk '{print $2}'")))
	if err != nil {
		t.Fatal(err)
	}
	if kib < 80<<10 {
		t.Errorf("the writable disk has %d KiB, want most of 96 MiB", kib)
	}
}
