package volumes

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestVolumeIsKeptGrowsAndGoes(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "volumes"))
	v, err := s.Ensure("default", "data", 1<<30, false)
	if err != nil {
		t.Fatal(err)
	}
	if size, allocated, err := v.Usage(); size != 0 || allocated != 0 || err != nil {
		t.Errorf("a volume that was never used: %d, %d, %v", size, allocated, err)
	}
	if err := os.WriteFile(v.Disk(), []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err = s.Ensure("default", "data", 2<<30, true); err != nil || v.SizeBytes != 2<<30 || !v.DeleteWithClaim {
		t.Errorf("grown: %+v, %v", v, err)
	}
	if v, err = s.Ensure("default", "data", 1<<30, true); !errors.Is(err, ErrShrink) || v.SizeBytes != 2<<30 {
		t.Errorf("shrunk: %+v, %v", v, err)
	}
	if _, err := s.Ensure("other", "data", 1<<30, false); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || list[0].Namespace != "default" || list[1].Namespace != "other" {
		t.Errorf("list: %+v, %v", list, err)
	}
	if size, allocated, err := list[0].Usage(); size != 4 || allocated == 0 || err != nil {
		t.Errorf("usage: %d, %d, %v", size, allocated, err)
	}
	if err := s.Remove("default", "data"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get("default", "data"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after its removal: %v", err)
	}
	if _, err := s.Get("other", "data"); err != nil {
		t.Errorf("another's: %v", err)
	}
}

func TestRecordThatIsNotAVolumesIsReportedAndKept(t *testing.T) {
	for name, record := range map[string]string{
		"broken":             `{`,
		"of another version": `{"version": 9, "namespace": "default", "name": "data"}`,
		"of another volume":  `{"version": 1, "namespace": "default", "name": "else"}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := Open(t.TempDir())
			dir := s.path("default", "data")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, recordFile)
			if err := os.WriteFile(path, []byte(record), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Ensure("default", "data", 1<<30, false); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Ensure: %v", err)
			}
			if list, err := s.List(); err == nil || len(list) > 0 {
				t.Errorf("List: %v, %v", list, err)
			}
			if data, err := os.ReadFile(path); err != nil || string(data) != record {
				t.Errorf("the record is now %q, %v", data, err)
			}
		})
	}
}

func TestNameThatLeavesTheStoreIsNone(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "volumes"))
	for _, name := range []string{"..", ".", "", "a/b", "../x"} {
		if _, err := s.Get("default", name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestVolumeThatWasUsedAndHasNoDiskIsLost(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "volumes"))
	v, err := s.Ensure("default", "data", 1<<30, false)
	if err != nil {
		t.Fatal(err)
	}
	lost := func(want bool) {
		t.Helper()
		v, err := s.NoteUse("default", "data")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.Lost(); got != want || err != nil {
			t.Errorf("lost: %t, %v, want %t", got, err, want)
		}
	}
	lost(false) // It was never used.
	if err := os.WriteFile(v.Disk(), []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	lost(false)
	if err := os.Rename(v.Disk(), v.Disk()+".away"); err != nil {
		t.Fatal(err)
	}
	s = Open(s.dir)
	lost(true)
	if v, err = s.Ensure("default", "data", 2<<30, true); err != nil || !v.Used {
		t.Errorf("grown: %+v, %v", v, err)
	}
	lost(true)
	if err := os.Rename(v.Disk()+".away", v.Disk()); err != nil {
		t.Fatal(err)
	}
	lost(false)
	if err := s.Remove("default", "data"); err != nil {
		t.Fatal(err)
	}
	if _, err = s.Ensure("default", "data", 1<<30, false); err != nil {
		t.Fatal(err)
	}
	lost(false) // It is another.
}

func TestVolumeOfASandboxIsThatSandboxsAlone(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "volumes"))
	if _, err := s.Ensure("default", "claimed", 1<<30, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.EnsureOwned("default", "claimed", 1<<30, "a"); !errors.Is(err, ErrNotOwner) {
		t.Errorf("a claim's volume: %v", err)
	}
	if v, err := s.Get("default", "claimed"); err != nil || v.DeleteWithClaim || v.Owner != "" {
		t.Errorf("the claim's volume is now %+v, %v", v, err)
	}
	for range 2 {
		if v, err := s.EnsureOwned("default", "own", 1<<30, "a"); err != nil || !v.DeleteWithClaim || v.Owner != "a" {
			t.Errorf("its own: %+v, %v", v, err)
		}
	}
	if _, err := s.EnsureOwned("default", "own", 1<<30, "b"); !errors.Is(err, ErrNotOwner) {
		t.Errorf("another sandbox's: %v", err)
	}
	if v, err := s.Ensure("default", "own", 1<<30, false); err != nil || v.DeleteWithClaim || v.Owner != "" {
		t.Errorf("what a claim has taken: %+v, %v", v, err)
	}
}
