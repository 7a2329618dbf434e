package main

import (
	"bytes"
	"debug/macho"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestJoinedProgramHoldsEachAsItWas(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, arch := range []string{"arm64", "amd64"} {
		name := filepath.Join(dir, arch)
		build := exec.CommandContext(t.Context(), "go", "build", "-o", name, source)
		build.Env = append(os.Environ(), "GOOS=darwin", "GOARCH="+arch, "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		names = append(names, name)
	}
	out := filepath.Join(dir, "out")
	if err := run(out, names); err != nil {
		t.Fatal(err)
	}
	fat, err := macho.OpenFat(out)
	if err != nil {
		t.Fatal(err)
	}
	defer fat.Close()
	joined, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	cpus := []macho.Cpu{macho.CpuArm64, macho.CpuAmd64}
	if len(fat.Arches) != len(cpus) {
		t.Fatalf("%d architectures", len(fat.Arches))
	}
	for i, a := range fat.Arches {
		want, err := os.ReadFile(names[i])
		if err != nil {
			t.Fatal(err)
		}
		if a.Cpu != cpus[i] || a.Offset%(1<<a.Align) != 0 || !bytes.Equal(joined[a.Offset:a.Offset+a.Size], want) {
			t.Errorf("slice %d: %v at %d, %d bytes", i, a.Cpu, a.Offset, a.Size)
		}
	}
	if err := run(out, []string{source}); err == nil {
		t.Error("what is no program for macOS was joined")
	}
}
