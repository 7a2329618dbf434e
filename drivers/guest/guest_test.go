//go:build linux

package guest_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// The containers of the test's guest.
const (
	mainCtr  = "main"     // the one most tests run in
	readOnly = "readonly" // with a read-only root file system, sharing main's volumes
	other    = "other"    // not kept running, for tests of init processes
	small    = "small"    // with little memory and processor time
	evil     = "evil"     // of an image full of traps
	circle   = "circle"   // of the same, mounting at a link to itself
	subPaths = "subpaths" // mounting what main has put into a volume
)

// TestGuest boots one machine and tries everything in it; then it shuts it down
// and boots another with the same disk.
func TestGuest(t *testing.T) {
	kernel, agent := unpackKernel(t), buildAgent(t)
	root := disk{"root0", rootfs(t, goodImage(t)), true}
	traps := disk{"root1", rootfs(t, evilImage(t)), true}
	data := disk{"data", filepath.Join(t.TempDir(), "data.img"), false}
	mkfs(t, data.path, 16<<20)
	if err := unix.Truncate(data.path, 96<<20); err != nil {
		t.Fatal(err)
	}

	own := disk{"own", filepath.Join(t.TempDir(), "own.img"), false}
	mkfs(t, own.path, 16<<20)
	if err := unix.Truncate(own.path, 96<<20); err != nil {
		t.Fatal(err)
	}

	v := boot(t, kernel, agent, data, own, root, traps)
	t.Run("Info", v.testInfo)
	t.Run("NothingRunsBeforeConfigure", v.testUnconfigured)
	v.configure(t, configuration())
	v.create(t)
	v.keep(t, mainCtr, readOnly)

	for name, test := range map[string]func(*testing.T){
		"ExitCodes":                    v.testExitCodes,
		"CommandsThatCannotStart":      v.testCannotStart,
		"UsersAndGroups":               v.testUsers,
		"EnvironmentHasDefaults":       v.testEnvironment,
		"CapabilitiesAreReduced":       v.testCapabilities,
		"InputComesBackUnchanged":      v.testStdin,
		"OutputIsBinarySafe":           v.testBigOutput,
		"SlowReaderHoldsTheWriterBack": v.testBackpressure,
		"StreamsBelongToTheUser":       v.testStreamOwner,
		"BackgroundChildDoesNotHang":   v.testBackgroundChild,
		"CancelKillsTheProcessGroup":   v.testCancel,
		"Signals":                      v.testSignals,
		"Terminal":                     v.testTerminal,
		"TerminalEndsWithItsProcess":   v.testTerminalHangup,
		"Volumes":                      v.testVolumes,
		"VolumeOnADiskOfItsOwn":        v.testOwnDisk,
		"ReadOnlyRootfs":               v.testReadOnlyRootfs,
		"FilesInEtc":                   v.testEtc,
		"Sysctls":                      v.testSysctls,
		"KernelFilesAreMasked":         v.testMasked,
		"DevicesAreOnlyTheUsualOnes":   v.testDevices,
		"NamespacesAreSeparate":        v.testNamespaces,
		"TrapsInAnImageLeadNowhere":    v.testEvil,
		"OutOfMemoryKillsTheContainer": v.testOOM,
		"RestartKeepsTheWritableLayer": v.testRestart,
		"InitTakesEverythingWithIt":    v.testInitExit,
		"StatisticsCount":              v.testStatistics,
		"UpdateChangesWhatIsThere":     v.testUpdate,
		"ClockFollowsTheHost":          v.testSetTime,
		"DiskIsGrownToItsDevice":       v.testGrown,
		"UnknownNamesAreNotFound":      v.testUnknown,
		"ManyProcessesAtOnce":          v.testMany,
		"ConfigureIsForOnce":           v.testConfigureTwice,
	} {
		t.Run(name, test)
	}
	v.shutdown(t)
	fsck(t, data.path)
	fsck(t, own.path)
	t.Run("WritableLayerSurvivesTheMachine", func(t *testing.T) {
		own := disk{own.serial, own.path, true}
		v := boot(t, kernel, agent, data, own, root, traps)
		c := configuration()
		c.GetVolumes()[3].ReadOnly = true
		c.FsGroup = &agentpb.FSGroup{Id: 4242}
		v.configure(t, c)
		v.create(t)
		r := v.exec(t, mainCtr, mainCtr, sh("cat /kept /data/kept; ls /mem"))
		if want := "layer\nvolume\n"; r.out != want {
			t.Errorf("output = %q, want %q", r.out, want)
		}
		r = v.exec(t, mainCtr, mainCtr, sh("cat /own/kept; echo x >/own/x; stat -c '%g %a %n' /data /data/kept /mem /etc/conf/deep /etc/conf/deep/secret /own"))
		if want := "own\n4242 2777 /data\n4242 664 /data/kept\n4242 2777 /mem\n4242 2755 /etc/conf/deep\n4242 440 /etc/conf/deep/secret\n0 777 /own\n"; r.out != want {
			t.Errorf("with a group, and a disk that is only read: %q, want %q", r.out, want)
		}
		if !strings.Contains(r.err, "Read-only file system") {
			t.Errorf("a write to a disk that is only read: %q", r.err)
		}
		v.shutdown(t)
		fsck(t, data.path)
	})
}

func goodImage(t *testing.T) func(dir string) {
	return func(dir string) {
		write(t, filepath.Join(dir, "etc/hostname"), "image\n", 0o644)
		write(t, filepath.Join(dir, "bin/noexec"), "#!/bin/sh\n", 0o644)
		write(t, filepath.Join(dir, "bin/nointerp"), "#!/bin/none\n", 0o755)
	}
}

func configuration() *agentpb.ConfigureRequest {
	return &agentpb.ConfigureRequest{
		Time:       timestamppb.Now(),
		RandomSeed: bytes.Repeat([]byte{7}, 64),
		Hostname:   "sandbox",
		DiskSerial: "data",
		Volumes: []*agentpb.Volume{
			{Name: "data", EmptyDir: true},
			{Name: "mem", EmptyDir: true, Memory: true, SizeLimitBytes: 1 << 20},
			{Name: "conf", Memory: true, Files: []*agentpb.File{
				{Path: "plain", Mode: 0o644, Data: []byte("plain\n")},
				{Path: "deep/secret", Mode: 0o400, Data: []byte("secret\n")},
			}},
			{Name: "own", DiskSerial: "own"},
		},
		Sysctls:     map[string]string{"net.core.somaxconn": "1234", "kernel.shm_rmid_forced": "1"},
		Nameservers: []string{"192.0.2.1"},
		Searches:    []string{"example.org", "example.com"},
		DnsOptions:  []string{"ndots:2"},
		HostAliases: []*agentpb.HostAlias{{Ip: "192.0.2.7", Hostnames: []string{"db", "db.local"}}},
	}
}

func (v *vm) configure(t *testing.T, req *agentpb.ConfigureRequest) {
	t.Helper()
	if _, err := v.Agent.Configure(t.Context(), req); err != nil {
		t.Fatal(wire.FromStatus(err))
	}
}

func (v *vm) create(t *testing.T) {
	t.Helper()
	for _, c := range []*agentpb.CreateContainerRequest{
		{Name: mainCtr, RootfsSerial: "root0", Mounts: []*agentpb.Mount{
			{Volume: "data", Path: "/data"},
			{Volume: "mem", Path: "/mem"},
			{Volume: "conf", Path: "/etc/conf"},
			{Volume: "conf", Path: "/etc/one", SubPath: "plain"},
			{Volume: "data", Path: "/data/below/it", SubPath: "made/up"},
			{Volume: "own", Path: "/own"},
		}},
		{Name: readOnly, RootfsSerial: "root0", ReadOnlyRootfs: true, Mounts: []*agentpb.Mount{
			{Volume: "data", Path: "/shared"},
			{Volume: "data", Path: "/seen", ReadOnly: true},
		}},
		{Name: other, RootfsSerial: "root0"},
		{Name: small, RootfsSerial: "root0", MemoryBytes: 16 << 20, CpuMillis: 500},
		{Name: evil, RootfsSerial: "root1", Mounts: []*agentpb.Mount{
			{Volume: "mem", Path: "/linked/sub"},
			{Volume: "mem", Path: "/up/sub"},
		}},
		{Name: circle, RootfsSerial: "root1", Mounts: []*agentpb.Mount{{Volume: "mem", Path: "/loop/sub"}}},
		{Name: subPaths, RootfsSerial: "root0", Mounts: []*agentpb.Mount{
			{Volume: "data", Path: "/one", SubPath: "out/deep"},
			{Volume: "data", Path: "/two", SubPath: "above/bin"},
		}},
	} {
		if _, err := v.Agent.CreateContainer(t.Context(), c); err != nil {
			t.Fatal(wire.FromStatus(err))
		}
	}
}

// keep runs containers that do nothing until the test ends, so that others can
// be joined to them.
func (v *vm) keep(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		started := make(chan struct{})
		ended := make(chan error, 1)
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			_, err := v.run(ctx, name, name, drivers.ProcessSpec{Args: []string{"tail", "-f", "/dev/null"}}, drivers.Stdio{},
				func(*wire.Started) { close(started) })
			ended <- err
		}()
		t.Cleanup(func() { cancel() })
		select {
		case <-started:
		case err := <-ended:
			t.Fatalf("container %s: %v", name, err)
		}
	}
}

func (v *vm) shutdown(t *testing.T) {
	t.Helper()
	if _, err := v.Agent.Shutdown(t.Context(), &agentpb.ShutdownRequest{}); err != nil {
		t.Errorf("shutdown: %v", wire.FromStatus(err))
	}
	v.awaitExit(t)
}

// result is what became of a process.
type result struct {
	out, err string
	exit     drivers.ExitStatus
}

// exec runs a process to its end.
func (v *vm) exec(t *testing.T, id, container string, spec drivers.ProcessSpec) result {
	t.Helper()
	r, err := v.try(t, id, container, spec, drivers.Stdio{})
	if err != nil {
		t.Fatalf("%q: %v", spec.Args, err)
	}
	return r
}

func (v *vm) try(t *testing.T, id, container string, spec drivers.ProcessSpec, stdio drivers.Stdio) (result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out, errs strings.Builder
	if stdio.Stdout == nil {
		stdio.Stdout = &out
	}
	stdio.Stderr = &errs
	exit, err := v.run(ctx, id, container, spec, stdio, nil)
	return result{out.String(), errs.String(), exit}, err
}

// sh runs a script in a container that is kept, and returns its output.
func (v *vm) sh(t *testing.T, container, script string) string {
	t.Helper()
	r := v.exec(t, "sh-"+t.Name(), container, sh(script))
	if r.exit.Code != 0 || r.err != "" {
		t.Errorf("%q: exit %d, %s", script, r.exit.Code, r.err)
	}
	return r.out
}

// run is Run as a function.
func (v *vm) run(ctx context.Context, id, container string, spec drivers.ProcessSpec, stdio drivers.Stdio, started func(*wire.Started)) (drivers.ExitStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := v.Agent.Run(ctx)
	if err != nil {
		return drivers.ExitStatus{}, wire.FromStatus(err)
	}
	start := &agentpb.RunStart{Id: id, Container: container, Spec: wire.FromSpec(spec), Stdin: stdio.Stdin != nil}
	if err := stream.Send(&agentpb.RunRequest{Kind: &agentpb.RunRequest_Start{Start: start}}); err != nil {
		return drivers.ExitStatus{}, wire.FromStatus(err)
	}
	return wire.Pump(ctx, runClient{stream}, stdio, started)
}

type runClient struct{ agentpb.Agent_RunClient }

func (c runClient) SendInput(in *wire.Input) error {
	return c.Send(&agentpb.RunRequest{Kind: &agentpb.RunRequest_Input{Input: in}})
}

func sh(script string) drivers.ProcessSpec {
	return drivers.ProcessSpec{Args: []string{"/bin/sh", "-c", script}}
}

func (v *vm) testInfo(t *testing.T) {
	info, err := v.Agent.Info(t.Context(), &agentpb.InfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(info.GetKernelVersion(), "6.") || len(info.GetBootId()) != 36 || info.GetTscKhz() < 100_000 || info.GetAgentVersion() == "" {
		t.Errorf("info = %v", info)
	}
}

func (v *vm) testUnconfigured(t *testing.T) {
	_, err := v.Agent.CreateContainer(t.Context(), &agentpb.CreateContainerRequest{Name: "early"})
	if err := wire.FromStatus(err); !errors.Is(err, drivers.ErrInvalidState) {
		t.Errorf("CreateContainer: %v, want %v", err, drivers.ErrInvalidState)
	}
	if _, err := v.try(t, "early", "early", sh(""), drivers.Stdio{}); !errors.Is(err, drivers.ErrInvalidState) {
		t.Errorf("Run: %v, want %v", err, drivers.ErrInvalidState)
	}
}

func (v *vm) testConfigureTwice(t *testing.T) {
	_, err := v.Agent.Configure(t.Context(), &agentpb.ConfigureRequest{})
	if err := wire.FromStatus(err); !errors.Is(err, drivers.ErrInvalidState) {
		t.Errorf("error = %v, want %v", err, drivers.ErrInvalidState)
	}
}
