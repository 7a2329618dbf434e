package qemu

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
)

var update = flag.Bool("update", false, "write the golden files")

// config describes a machine with every feature.
func config() linuxvm.MachineConfig {
	return linuxvm.MachineConfig{
		ID:          "default/web",
		CPUs:        2,
		MemoryBytes: 512<<20 + 1,
		Kernel:      drivers.Kernel{Image: "/k/vmlinuz", VMLinux: "/k/vmlinux", Args: []string{"sysctl.vm.swappiness=1"}},
		Initrd:      "/c/initrd",
		KernelArgs:  []string{"quiet"},
		Disks: []linuxvm.Disk{
			{Serial: "data", Path: "/s/a,b/disk.img"},
			{Serial: "root0", Path: "/i/base.ext4", ReadOnly: true},
		},
	}
}

func TestArgsMatchGoldenCommandLines(t *testing.T) {
	small := config()
	small.Disks, small.Kernel.VMLinux, small.CPUs = nil, "", 1
	nested := config()
	nested.NestedVirtualization = true
	networked := config()
	networked.Interfaces = []linuxvm.Interface{{Socket: "/s/net,1.sock", MAC: "02:00:00:00:00:01"}, {Socket: "/s/net2.sock", MAC: "02:00:00:00:00:02"}}
	bare := newSpec(small, "linux", "q35", "tcg", "")
	bare.Sockets = false
	incoming := newSpec(config(), "linux", "q35", "tcg", "")
	incoming.Incoming = true
	for name, spec := range map[string]Spec{
		"q35-tcg":    newSpec(config(), "linux", "q35", "tcg", "/usr/share/qemu/qboot.rom"),
		"q35-kvm":    newSpec(small, "linux", "q35", "kvm", ""),
		"q35-nested": newSpec(nested, "linux", "q35", "kvm", ""),
		"networks":   newSpec(networked, "linux", "q35", "kvm", ""),
		"virt-hvf":   newSpec(config(), "darwin", "virt", "hvf", ""),
		"incoming":   incoming,
		"bare":       bare,
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(Args(spec), "\n") + "\n"
			golden := filepath.Join("testdata", name+".args")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("arguments (-want +got), -update accepts them:\n%s", diff)
			}
		})
	}
}

func TestCommasInPathsDoNotSplitArguments(t *testing.T) {
	cfg := config()
	cfg.ID = "a,process=evil/b"
	cfg.Disks[0].Path = "/x,file.locking=off"
	args := Args(newSpec(cfg, "linux", "q35", "tcg", ""))
	for _, want := range []string{
		"guest=a,,process=evil/b",
		"driver=raw,node-name=disk0,discard=unmap,detect-zeroes=unmap,file.driver=file,file.locking=auto,file.filename=/x,,file.locking=off,file.discard=unmap",
	} {
		if !slices.Contains(args, want) {
			t.Errorf("no argument %q in %q", want, args)
		}
	}
}

func TestRuntimeData(t *testing.T) {
	for _, tc := range []struct {
		name, raw, os, arch string
		want                runtimeData
		wantErr             string
	}{
		{"none", ``, "linux", "amd64", runtimeData{"auto", "q35"}, ""},
		{"empty", `{}`, "linux", "arm64", runtimeData{"auto", "virt"}, ""},
		{"told", `{"acceleration":"tcg","machine":"q35"}`, "linux", "amd64", runtimeData{"tcg", "q35"}, ""},
		{"hvf", `{"acceleration":"hvf"}`, "darwin", "arm64", runtimeData{"hvf", "virt"}, ""},
		{"kvm on macOS", `{"acceleration":"kvm"}`, "darwin", "arm64", runtimeData{}, `"kvm" is not for this host (darwin)`},
		{"hvf on Linux", `{"acceleration":"hvf"}`, "linux", "amd64", runtimeData{}, `"hvf" is not for this host (linux)`},
		{"nonsense", `{"acceleration":"warp"}`, "linux", "amd64", runtimeData{}, `"warp" is none of "auto", "kvm", "tcg"`},
		{"other machine", `{"machine":"virt"}`, "linux", "amd64", runtimeData{}, `"virt" does not run on this amd64 host, use "q35"`},
		{"unknown field", `{"machin":"q35"}`, "linux", "amd64", runtimeData{}, `unknown field "machin"`},
		{"two values", `{}{}`, "linux", "amd64", runtimeData{}, `more than one JSON value`},
		{"wrong type", `[]`, "linux", "amd64", runtimeData{}, `cannot unmarshal array`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseRuntimeData([]byte(tc.raw), tc.os, tc.arch)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("error %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}
