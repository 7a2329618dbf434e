package vz

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
)

func TestMachineIsDescribedWhole(t *testing.T) {
	got := describe(linuxvm.MachineConfig{
		ID:          "default/web",
		CPUs:        2,
		MemoryBytes: 512<<20 + 1,
		Kernel:      drivers.Kernel{Image: "/k/image", VMLinux: "/k/vmlinux", Args: []string{"sysctl.vm.swappiness=1"}},
		Initrd:      "/c/initrd",
		KernelArgs:  []string{"quiet"},
		Disks: []linuxvm.Disk{
			{Serial: "data", Path: "/s/disk.img"},
			{Serial: "root0", Path: "/i/base.ext4", ReadOnly: true},
		},
		NestedVirtualization: true,
	}, runtimeData{DiskCache: DiskCacheOn, DiskSync: DiskSyncFsync}, []byte("id"))
	want := Description{
		CPUs:                 2,
		MemoryBytes:          513 << 20,
		Kernel:               "/k/image",
		Initrd:               "/c/initrd",
		CommandLine:          "console=hvc0 panic=-1 vzr.channel=vsock quiet sysctl.vm.swappiness=1",
		MachineIdentifier:    []byte("id"),
		NestedVirtualization: true,
		Disks: []DiskDescription{
			{Identifier: "data", Path: "/s/disk.img", Cache: "on", Sync: "fsync"},
			{Identifier: "root0", Path: "/i/base.ext4", ReadOnly: true, Cache: "on", Sync: "fsync"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("description (-want +got):\n%s", diff)
	}
}

// The files that consume a description are built on no host that runs this.
func TestEveryFieldOfADescriptionIsConsumed(t *testing.T) {
	// By the names of the variables that hold them there.
	types := map[string]reflect.Type{
		"d": reflect.TypeFor[Description](), "disk": reflect.TypeFor[DiskDescription](),
		"network": reflect.TypeFor[NetworkDescription](), "share": reflect.TypeFor[ShareDescription](),
	}
	read := map[string]bool{}
	for _, name := range []string{"framework.go", "framework_devices.go", "joints.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok {
					read[x.Name+"."+s.Sel.Name] = true
				}
			}
			return true
		})
	}
	for variable, typ := range types {
		for field := range typ.Fields() {
			if !read[variable+"."+field.Name] {
				t.Errorf("nothing reads %s.%s", typ.Name(), field.Name)
			}
		}
	}
}

func TestWhatTheHostCannotGiveIsRefused(t *testing.T) {
	host := limits{minCPUs: 1, maxCPUs: 8, minMemoryBytes: 4 << 20, maxMemoryBytes: 8 << 30}
	tests := map[string]struct {
		d    Description
		want string
	}{
		"fits":            {Description{CPUs: 8, MemoryBytes: 8 << 30}, ""},
		"too many CPUs":   {Description{CPUs: 9, MemoryBytes: 1 << 30}, "cpus: invalid argument: 9 is not between 1 and 8, what this Mac can give a virtual machine"},
		"too much memory": {Description{CPUs: 1, MemoryBytes: 9 << 30}, "memory: invalid argument: 9216 MiB is not between 4 and 8192 MiB, what this Mac can give a virtual machine"},
		"too little":      {Description{CPUs: 1, MemoryBytes: 1 << 20}, "memory: invalid argument: 1 MiB is not between 4 and 8192 MiB, what this Mac can give a virtual machine"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.d.within(host)
			if got := errorText(err); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRuntimeData(t *testing.T) {
	tests := map[string]struct {
		raw       string
		want      runtimeData
		wantError string
	}{
		"nothing":       {"", runtimeData{"on", "fsync"}, ""},
		"empty":         {" {} ", runtimeData{"on", "fsync"}, ""},
		"all":           {`{"diskCache":"off","diskSync":"full"}`, runtimeData{"off", "full"}, ""},
		"unknown":       {`{"acceleration":"hvf"}`, runtimeData{}, `unknown field "acceleration"`},
		"bad cache":     {`{"diskCache":"maybe"}`, runtimeData{}, `diskCache: invalid argument: "maybe" is none of "on", "auto", "off"`},
		"bad sync":      {`{"diskSync":"maybe"}`, runtimeData{}, `diskSync: invalid argument: "maybe" is none of "fsync", "full", "none"`},
		"two documents": {`{} {}`, runtimeData{}, "more than one JSON value"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseRuntimeData([]byte(tt.raw))
			if tt.wantError != "" {
				if !errors.Is(err, drivers.ErrInvalidArgument) || !strings.Contains(err.Error(), tt.wantError) {
					t.Errorf("error %v, want an invalid argument with %q", err, tt.wantError)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestOnlyAnUncompressedArm64KernelIsTaken(t *testing.T) {
	image := make([]byte, 128)
	copy(image[56:], "ARM\x64")
	tests := map[string]struct {
		arch    string
		content []byte
		ok      bool
	}{
		"an Image":         {"arm64", image, true},
		"gzip":             {"arm64", append([]byte{0x1f, 0x8b}, make([]byte, 126)...), false},
		"something short":  {"arm64", []byte("MZ"), false},
		"empty":            {"arm64", nil, false},
		"a bzImage on x86": {"amd64", []byte("bz"), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kernel")
			if err := os.WriteFile(path, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			err := checkKernel(path, tt.arch)
			if tt.ok != (err == nil) || (err != nil && !errors.Is(err, drivers.ErrInvalidArgument)) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestMachineKeepsItsIdentifier(t *testing.T) {
	dir := t.TempDir()
	made := 0
	make := func() ([]byte, error) {
		made++
		return []byte{byte(made)}, nil
	}
	for range 2 {
		id, err := machineIdentifier(dir, make)
		if err != nil || len(id) != 1 || id[0] != 1 {
			t.Fatalf("identifier %v, %v", id, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, identifierFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := machineIdentifier(dir, make); err == nil {
		t.Error("an empty identifier, which the framework cannot take, was accepted")
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
