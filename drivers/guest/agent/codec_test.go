//go:build linux

package agent

import (
	"reflect"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func exampleSpec() stageSpec {
	return stageSpec{
		Root: "/run/roots/web", Cgroup: "/sys/fs/cgroup/containers/web", ReadOnly: true,
		Mounts:  []bindMount{{"/a", "", "/b", true}, {"/c", "d\ne", "/f", false}},
		Files:   []bindFile{{"/g", "/h"}},
		Sysctls: map[string]string{"kernel.sem": "1 2 3 4", "kernel.shmmax": ""},
		Process: processSpec{
			Args: []string{"sh", "-c", "echo \"ä\" | cat", ""}, Env: []string{"A=b\nc"}, Cwd: "/", User: "0:0",
			Groups: []uint32{1, 1<<32 - 1}, Terminal: true, Size: drivers.TerminalSize{Width: 1, Height: 1<<16 - 1},
			Capabilities: []string{"CAP_CHOWN"}, NoNewPrivs: true,
		},
	}
}

func TestStageGetsTheWholeSpecification(t *testing.T) {
	want := exampleSpec()
	// A field that is added and forgotten in the encoding is found out here.
	for _, v := range []any{want, want.Process, want.Mounts[0], want.Files[0]} {
		for i, rv := 0, reflect.ValueOf(v); i < rv.NumField(); i++ {
			if rv.Field(i).IsZero() && rv.Type().Field(i).Name != "SubPath" {
				t.Fatalf("the example has no %s.%s", rv.Type(), rv.Type().Field(i).Name)
			}
		}
	}
	got, err := decodeStageSpec(want.encode())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("spec = %+v, %v; want %+v", got, err, want)
	}
}

func TestCutMessagesAreErrors(t *testing.T) {
	data := exampleSpec().encode()
	for n := range len(data) {
		if _, err := decodeStageSpec(data[:n]); err == nil {
			t.Errorf("%d bytes of %d are taken for the whole", n, len(data))
		}
	}
	if e, err := decodeStageError(stageError{Kind: "missing", Text: "a\x00b"}.encode()); err != nil || e != (stageError{Kind: "missing", Text: "ab"}) {
		t.Errorf("stage error = %+v, %v", e, err)
	}
	if _, err := decodeStageError("panic: something"); err == nil {
		t.Error("a panic's text is taken for a message")
	}
}

func FuzzStageSpec(f *testing.F) {
	f.Add("")
	f.Add(exampleSpec().encode())
	f.Add("a\x00b\x00true\x009999999999\x00")
	f.Fuzz(func(t *testing.T, data string) {
		s, err := decodeStageSpec(data)
		if err != nil {
			return
		}
		again, err := decodeStageSpec(s.encode())
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%+v became %+v, %v", s, again, err)
		}
	})
}
