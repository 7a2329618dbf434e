//go:build linux

package agent

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/guest/initramfs"
)

func TestModuleListIsReadAsTheInitramfsHasIt(t *testing.T) {
	got := parseModuleList("channel a\nstorage b\nchannel c\n\nidle d\n")
	want := moduleList{
		initramfs.WhenChannel: {"a", "c"}, initramfs.WhenStorage: {"b"}, initramfs.WhenIdle: {"d"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("list = %v, want %v", got, want)
	}
	if whenChannel != initramfs.WhenChannel || whenStorage != initramfs.WhenStorage || whenIdle != initramfs.WhenIdle ||
		modulesDir+"/list" != "/"+initramfs.ListFile {
		t.Error("the agent and the initramfs disagree about the list")
	}
}

func TestChannelKindIsTakenFromTheCommandLine(t *testing.T) {
	for cmdline, want := range map[string]string{
		"console=ttyS0 quiet":                    "virtio",
		"quiet vzr.channel=vsock panic=-1\n":     "vsock",
		"xvzr.channel=vsock vzr.channel=carrier": "carrier",
	} {
		if got := channelKind(cmdline); got != want {
			t.Errorf("%q: %q, want %q", cmdline, got, want)
		}
	}
	if _, err := openChannel(t.Context(), "carrier"); err == nil || !strings.Contains(err.Error(), "carrier") {
		t.Errorf("error = %v, want one that names the kind", err)
	}
}

func TestFrequencyIsTheLastTheKernelFound(t *testing.T) {
	for log, want := range map[string]uint64{
		"": 0,
		"<6>[    0.000000] tsc: Fast TSC calibration failed\n<6>[    0.000000] tsc: Detected 2445.424 MHz processor\n":                 2445424,
		"<6>[ 0.0] tsc: Detected 2445.424 MHz processor\n<6>[    3.8] tsc: Refined TSC clocksource calibration: 2445.500 MHz\nother\n": 2445500,
		"<6>[ 0.0] tsc: Detected fast MHz processor\n<6>[ 0.0] tsc: Detected 2.5 MHz\n":                                                0,
	} {
		if got := tscKHz(log); got != want {
			t.Errorf("%q: %d, want %d", log, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"web": true, "a": true, "A-b_c.1": true, strings.Repeat("x", 253): true,
		"": false, "..": false, "../x": false, "a/b": false, "a,b": false, "-a": false, ".a": false,
		"a\x00": false, "a:b": false, "ä": false, strings.Repeat("x", 254): false,
	} {
		if got := nameOK(name); got != want {
			t.Errorf("nameOK(%q) = %v", name, got)
		}
	}
	for name, want := range map[string]bool{
		"net.core.somaxconn": true, "net/ipv4/conf/eth0.1/x": true, "kernel.shm_rmid_forced": true,
		"": false, "kernel": false, "../kernel.x": false, "net..x": false, ".net.x": false, "net.x/": false,
		"net.x y": false, "net.x\n": false,
	} {
		if got := sysctlOK(name); got != want {
			t.Errorf("sysctlOK(%q) = %v", name, got)
		}
	}
	for name, want := range map[string]string{
		"net.core.somaxconn":     "/proc/sys/net/core/somaxconn",
		"net/ipv4/conf/eth0.1":   "/proc/sys/net/ipv4/conf/eth0.1",
		"net.ipv4.conf.eth0/1.x": "/proc/sys/net/ipv4/conf/eth0.1/x",
	} {
		if got := sysctlPath(name); got != want {
			t.Errorf("sysctlPath(%q) = %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]bool{
		"kernel.shmmax": true, "kernel/sem": true, "fs.mqueue.msg_max": true,
		"kernel.pid_max": false, "net.core.somaxconn": false,
	} {
		if got := sysctlIsIPC(name); got != want {
			t.Errorf("sysctlIsIPC(%q) = %v", name, got)
		}
	}
}

func TestCapabilityMaskIsDockersByDefault(t *testing.T) {
	mask, err := capabilityMask(defaultCapabilities())
	if err != nil || mask != 0xa80425fb {
		t.Errorf("mask = %#x, %v; want 0xa80425fb", mask, err)
	}
	if mask, err := capabilityMask([]string{"ALL"}); err != nil || mask != 1<<41-1 {
		t.Errorf("all = %#x, %v", mask, err)
	}
	if mask, err := capabilityMask([]string{"net_admin", "CAP_CHECKPOINT_RESTORE"}); err != nil || mask != 1<<12|1<<40 {
		t.Errorf("two = %#x, %v", mask, err)
	}
	if _, err := capabilityMask([]string{"CAP_FLY"}); !errors.Is(err, drivers.ErrInvalidArgument) {
		t.Errorf("error = %v, want %v", err, drivers.ErrInvalidArgument)
	}
}

func TestExecutablesAreFoundAsAShellFindsThem(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	for path, mode := range map[string]os.FileMode{
		filepath.Join(first, "data"): 0o644, filepath.Join(second, "data"): 0o755, filepath.Join(second, "tool"): 0o755,
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(first, "tool"), 0o755); err != nil {
		t.Fatal(err)
	}
	search := first + ":" + second
	for name, want := range map[string]string{
		"tool":                        filepath.Join(second, "tool"), // a directory of that name is none
		"data":                        filepath.Join(second, "data"), // nor a file without the run bit
		filepath.Join(second, "tool"): filepath.Join(second, "tool"),
	} {
		if got, err := lookExecutable(name, search); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]error{
		"none": drivers.ErrNotFound, "/none/none": drivers.ErrNotFound,
		filepath.Join(first, "data"): drivers.ErrInvalidArgument, first: drivers.ErrInvalidArgument,
	} {
		if _, err := lookExecutable(name, search); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
}

func TestProcessSpecIsCompletedAndChecked(t *testing.T) {
	got, err := newProcessSpec(drivers.ProcessSpec{
		Args: []string{"x"}, Env: []drivers.EnvVar{{Name: "PATH", Value: "/p"}}, Terminal: true,
	}, "host")
	if err != nil {
		t.Fatal(err)
	}
	want := processSpec{
		Args: []string{"x"}, Env: []string{"PATH=/p", "HOSTNAME=host", "TERM=xterm"}, Cwd: "/",
		Terminal: true, Size: drivers.TerminalSize{Width: 80, Height: 24},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("spec = %+v, want %+v", got, want)
	}
	for name, bad := range map[string]drivers.ProcessSpec{
		"no arguments":   {},
		"an empty one":   {Args: []string{""}},
		"relative":       {Args: []string{"x"}, WorkingDir: "tmp"},
		"name with =":    {Args: []string{"x"}, Env: []drivers.EnvVar{{Name: "A=B"}}},
		"no name":        {Args: []string{"x"}, Env: []drivers.EnvVar{{Value: "v"}}},
		"NUL in a value": {Args: []string{"x"}, Env: []drivers.EnvVar{{Name: "A", Value: "v\x00"}}},
		"NUL in args":    {Args: []string{"x", "a\x00b"}},
		"NUL in user":    {Args: []string{"x"}, User: "a\x00"},
		"NUL in caps":    {Args: []string{"x"}, Capabilities: []string{"a\x00"}},
		"NUL in cwd":     {Args: []string{"x"}, WorkingDir: "/a\x00"},
	} {
		if _, err := newProcessSpec(bad, ""); !errors.Is(err, drivers.ErrInvalidArgument) {
			t.Errorf("%s: %v, want %v", name, err, drivers.ErrInvalidArgument)
		}
	}
}

func TestStageErrorsKeepTheirKind(t *testing.T) {
	for _, kind := range []error{drivers.ErrInvalidArgument, drivers.ErrNotFound} {
		if e := newStageError(errors.Join(kind)); !errors.Is(e, kind) || e.Error() != kind.Error() {
			t.Errorf("%v became %+v", kind, e)
		}
	}
	if e := newStageError(unix.EIO); e.Unwrap() != nil || e.Error() != unix.EIO.Error() {
		t.Errorf("another error became %+v", e)
	}
}

func TestFilesVolumeRefusesPathsThatLeaveIt(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"", ".", "..", "../x", "/x", "a/../../x", "a//b", "a/", "./a"} {
		err := writeVolumeFile(dir, &agentpb.File{Path: path, Mode: 0o644})
		if !errors.Is(err, drivers.ErrInvalidArgument) {
			t.Errorf("%q: %v, want %v", path, err, drivers.ErrInvalidArgument)
		}
	}
	if err := writeVolumeFile(dir, &agentpb.File{Path: "a/b", Mode: 0o4751, Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "a/b"), &st); err != nil || st.Mode != unix.S_IFREG|0o4751 {
		t.Errorf("mode = %o, %v", st.Mode, err)
	}
	// A file that is a directory to another, or there twice.
	for _, path := range []string{"a/b/c", "a/b", "a"} {
		if err := writeVolumeFile(dir, &agentpb.File{Path: path, Mode: 0o644}); err == nil {
			t.Errorf("%q was written over another", path)
		}
	}
}

func TestEtcFiles(t *testing.T) {
	e := newEtcFiles(&agentpb.ConfigureRequest{Hostname: "localhost"})
	if e.resolvConf != "" || strings.Count(e.hosts, "\n") != 2 {
		t.Errorf("files of a guest without anything = %+v", e)
	}
}

func TestStatisticsOfTheKernelsFiles(t *testing.T) {
	if got := cpuUsec("cpu  10 1 2 100 50 3 4 5 9 9\ncpu0 1 1\n"); got != (10+1+2+3+4+5)*10_000 {
		t.Errorf("cpu = %d", got)
	}
	var use drivers.ResourceUse
	countNetwork(&use, "Inter-| Receive\n face |bytes\n    lo: 5 5 5 0 0 0 0 0 5 5 5\n  eth0: 7 1 2 0 0 0 0 0 8 3 4\neth1:1 1 1 9 9 9 9 9 2 1 1\n")
	want := drivers.ResourceUse{
		NetworkRxBytes: 8, NetworkRxPackets: 2, NetworkRxErrors: 3,
		NetworkTxBytes: 10, NetworkTxPackets: 4, NetworkTxErrors: 5,
	}
	if use != want {
		t.Errorf("network = %+v, want %+v", use, want)
	}
	dir := t.TempDir()
	for disk, stat := range map[string]string{"vda": "1 0 10 0 2 0 20 0 0 0 0\n", "vdb": "1 0 1 0 0 0 0 0\n", "loop0": "9 9 9 9 9 9 9 9\n"} {
		if err := os.Mkdir(filepath.Join(dir, disk), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, disk, "stat"), []byte(stat), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if r, w := blockBytes(dir); r != 11*512 || w != 20*512 {
		t.Errorf("block = %d, %d", r, w)
	}
}

func TestGroupUseIsTheWorkingSet(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{
		"cpu.stat":       "usage_usec 12\nuser_usec 5\n",
		"memory.current": "1000\n",
		"memory.max":     "max\n",
		"memory.stat":    "anon 1\ninactive_file 300\n",
		"pids.current":   "4\n",
		"io.stat":        "254:0 rbytes=1 wbytes=2 rios=9\n254:16 rbytes=10 wbytes=20\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := drivers.ResourceUse{CPUUsec: 12, MemoryBytes: 700, Processes: 4, BlockReadBytes: 11, BlockWriteBytes: 22}
	if got := groupUse(dir); got != want {
		t.Errorf("use = %+v, want %+v", got, want)
	}
}

func TestExitStatusOfAWaitStatus(t *testing.T) {
	at := time.Unix(1, 0)
	for status, want := range map[unix.WaitStatus]drivers.ExitStatus{
		0:        {FinishedAt: at},
		3 << 8:   {Code: 3, FinishedAt: at},
		9:        {Code: 137, Signal: 9, FinishedAt: at},
		11 | 128: {Code: 139, Signal: 11, FinishedAt: at}, // with a core file
	} {
		if got := exitStatus(status, at); got != want {
			t.Errorf("%#x: %+v, want %+v", status, got, want)
		}
	}
}

func TestReaperCollectsOrphansAndNobodyElsesStatus(t *testing.T) {
	r := newReaper()
	r.mu.Lock()
	c := &child{pid: 1 << 30, reaper: r, done: make(chan struct{})}
	r.children[c.pid] = c
	r.mu.Unlock()
	select {
	case <-c.done:
		t.Error("a child that never was has exited")
	default:
	}
	r.mu.Lock()
	delete(r.children, c.pid)
	r.mu.Unlock()
	if err := c.signal(9, false); !errors.Is(err, drivers.ErrNotFound) {
		t.Errorf("signal after the exit: %v, want %v", err, drivers.ErrNotFound)
	}
}

func TestPressureIsNilWhereTheKernelKeepsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cpu.pressure")
	if got := pressure(file); got != nil {
		t.Errorf("without a file: %+v", got)
	}
	text := "some avg10=12.50 avg60=1.00 avg300=0.00 total=7\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=1\nodd\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := pressure(file); got == nil || *got != (drivers.Pressure{Some: 12.5, Full: 0.25}) {
		t.Errorf("got %+v", got)
	}
}
