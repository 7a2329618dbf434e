package plugins

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/plugins/runtimepb"
)

func TestSnapshotComesBackTheSame(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	for _, want := range []drivers.Snapshot{{}, {
		State:  drivers.StateStopped,
		Reason: "the virtual machine process exited",
		Processes: []drivers.ProcessStatus{
			{ID: "web", Container: "web", State: drivers.ProcessExited, PID: 7, StartedAt: at,
				Exit: &drivers.ExitStatus{Code: 137, Signal: 9, OOMKilled: true, FinishedAt: at}},
			{ID: "job", Container: "web", State: drivers.ProcessCreated},
		},
		Machine: &drivers.Machine{
			Hypervisor: "qemu 7.2", Type: "q35", Accelerator: "tcg", AcceleratorReason: "no /dev/kvm", PID: 9, StartTime: 1 << 63,
			KernelVersion: "6.1", BootID: "b",
		},
		Timeline: []drivers.Stage{{Name: drivers.StageBootstrap, Time: at}},
	}} {
		data, err := proto.Marshal(fromSnapshot(want))
		if err != nil {
			t.Fatal(err)
		}
		var m runtimepb.Snapshot
		if err := proto.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, toSnapshot(&m)); diff != "" {
			t.Error(diff)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte("{kind: runtime, name: x, version: '1', command: run, protocolVersions: [1]}"))
	f.Add([]byte("kind: [runtime]\nname: &a x\nversion: *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseManifest(data)
		if err != nil {
			return
		}
		p := &Plugin{Manifest: m, Dir: "/plugins/x"}
		if exe := p.Executable(); !filepath.IsAbs(m.Command) && !strings.HasPrefix(exe, "/plugins/x/") && exe != "/plugins/x" {
			t.Errorf("command %q is %s", m.Command, exe)
		}
	})
}

func TestLogIsBoundedAndKeepsTheLatest(t *testing.T) {
	path := filepath.Join(t.TempDir(), PluginLog)
	l, err := newBoundedLog(path, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		fmt.Fprintf(l, "line %d\n", i)
	}
	var all []byte
	for _, p := range []string{path + ".1", path} {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 1000 {
			t.Errorf("%s holds %d bytes", p, len(data))
		}
		all = append(all, data...)
	}
	if !bytes.HasSuffix(all, []byte("line 498\nline 499\n")) {
		t.Errorf("the log ends %q", all[len(all)-30:])
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 2 {
		t.Errorf("there are %v", entries)
	}
	// A new process goes on where the last one was.
	again, err := newBoundedLog(path, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if again.size == 0 {
		t.Error("the log starts anew")
	}
}

func TestCapturedDescriptorFollowsTheLog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, PluginLog)
	l, err := newBoundedLog(path, 100)
	if err != nil {
		t.Fatal(err)
	}
	std, err := os.Create(filepath.Join(dir, "std"))
	if err != nil {
		t.Fatal(err)
	}
	defer std.Close()
	if err := l.capture(int(std.Fd())); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		fmt.Fprintln(l, "something to rotate for")
	}
	fmt.Fprintln(std, "last words")
	if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), "last words") {
		t.Errorf("the log holds %q, %v", data, err)
	}
}

func TestSocketOfAnotherShapeIsNotRemoved(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "plugin-dir1", "precious")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A record is only a file: whatever it says, no data is lost.
	_ = removeSocket(file)
	_ = removeSocket(filepath.Join(dir, "plugin-dir1"))
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
