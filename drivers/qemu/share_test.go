package qemu

import (
	"slices"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
)

func TestShareArgs(t *testing.T) {
	for want, s := range map[string]linuxvm.Share{
		"share-host-path rw dir /srv a/b":  {Root: "/srv", Path: "a/b"},
		"share-host-path ro file /srv a/b": {Root: "/srv", Path: "a/b", File: true, ReadOnly: true},
	} {
		got := shareArgs(s, "/usr/libexec/virtiofsd")
		if line := strings.Join(got, " "); !strings.HasPrefix(line, want+" /usr/libexec/virtiofsd --fd=3 ") || !slices.Contains(got, "sandbox=namespace") {
			t.Errorf("got %q, want it to begin with %q", line, want)
		}
	}
}

func TestSharesNeedSharedMemory(t *testing.T) {
	spec := Spec{Type: "q35", Accelerator: "tcg", CPUs: 1, MemoryBytes: 128<<20 + 1, Shares: []Share{{Tag: "volume1", FD: 9}}}
	line := strings.Join(Args(spec), " ")
	for _, want := range []string{
		"-m size=129M ", "-object memory-backend-memfd,id=memory,share=on,size=129M -machine memory-backend=memory ",
		"-chardev socket,id=share0,fd=9 -device vhost-user-fs-pci,romfile=,queue-size=1024,chardev=share0,tag=volume1",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in %q", want, line)
		}
	}
	spec.Shares = nil
	if line := strings.Join(Args(spec), " "); strings.Contains(line, "memory-backend") {
		t.Errorf("shared memory for nothing: %q", line)
	}
}
