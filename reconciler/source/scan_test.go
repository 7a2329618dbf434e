package source

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

func testScanner(t testing.TB, dir string) *scanner {
	t.Helper()
	return newScanner([]string{dir}, NewDirectory(nil, Options{}).opts, nil)
}

func TestUnchangedFilesAreNotParsedAgain(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"a", "b"} {
		put(t, dir+"/"+name+".yaml", configMap(name))
		do(t, os.Chtimes(dir+"/"+name+".yaml", old, old))
	}
	s := testScanner(t, dir)
	var parsed []string
	s.parse = func(file string, data []byte, keys manifests.Keys) ([]manifests.Object, []*manifests.Error) {
		parsed = append(parsed, file)
		return manifests.ParseWithKeys(file, data, keys)
	}
	now := time.Now()
	s.look(now)
	s.look(now.Add(time.Minute))
	if len(parsed) != 2 {
		t.Fatalf("parsed %q", parsed)
	}
	// The same size and the same time, but another content within the clock's tick.
	put(t, dir+"/a.yaml", strings.Replace(configMap("a"), "a: b", "a: c", 1))
	do(t, os.Chtimes(dir+"/a.yaml", old, old))
	before := s.look(now.Add(2 * time.Minute)).fingerprint
	if len(parsed) != 3 {
		t.Fatalf("parsed %q: a changed file was not read", parsed)
	}
	// Touched only.
	do(t, os.Chtimes(dir+"/a.yaml", now, now))
	if after := s.look(now.Add(3 * time.Minute)).fingerprint; after != before || len(parsed) != 3 {
		t.Errorf("a touched file counts as changed: parsed %q", parsed)
	}
}

func TestUnreadableDirectoryMakesTheLookIncomplete(t *testing.T) {
	if os.Getuid() == 0 {
		// root reads everything; a file in the place of a directory cannot be listed
		// by root either.
		dir := t.TempDir() + "/manifests"
		put(t, dir, "no directory")
		s := testScanner(t, dir)
		s.look(time.Now())
		if snap := s.snapshot(); snap.Complete || len(snap.Errors) != 1 {
			t.Errorf("got %s", describeSnapshot(snap))
		}
		return
	}
	dir := t.TempDir()
	put(t, dir+"/sub/a.yaml", configMap("a"))
	do(t, os.Chmod(dir+"/sub", 0))
	t.Cleanup(func() { _ = os.Chmod(dir+"/sub", 0o700) })
	s := testScanner(t, dir)
	s.look(time.Now())
	if snap := s.snapshot(); snap.Complete || len(snap.Errors) != 1 {
		t.Errorf("got %s", describeSnapshot(snap))
	}
}

func TestEmptyDirectoryOnAnotherFileSystemIsIncomplete(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a.yaml", configMap("a"))
	s := testScanner(t, dir)
	now := time.Now()
	s.look(now)
	// As if the directory had been mounted then, and is not any more.
	p := s.places[dir]
	p.dev++
	s.places[dir] = p
	do(t, os.Remove(dir+"/a.yaml"))
	for i := range 3 {
		s.look(now.Add(time.Duration(i+1) * time.Hour))
		if snap := s.snapshot(); snap.Complete {
			t.Errorf("look %d: complete", i)
		}
	}
	put(t, dir+"/b.yaml", configMap("b"))
	s.look(now.Add(10 * time.Hour))
	if snap := s.snapshot(); !snap.Complete || names(snap) != "b" {
		t.Errorf("got %s", describeSnapshot(snap))
	}
}

func TestRemovalBeingSettledIsToldFromDirectoryThatIsGone(t *testing.T) {
	dir := t.TempDir() + "/manifests"
	put(t, dir+"/a.yaml", configMap("a"))
	put(t, dir+"/b.yaml", configMap("b"))
	s := testScanner(t, dir)
	now := time.Now()
	s.look(now)
	want := func(at time.Time, complete, settling bool) {
		t.Helper()
		s.look(at)
		if snap := s.snapshot(); snap.Complete != complete || snap.Settling != settling {
			t.Errorf("got %s, settling %v; want complete %v, settling %v", describeSnapshot(snap), snap.Settling, complete, settling)
		}
	}
	do(t, os.Remove(dir+"/a.yaml"))
	want(now.Add(time.Minute), false, true)
	want(now.Add(2*time.Minute), true, false)
	do(t, os.RemoveAll(dir))
	want(now.Add(3*time.Minute), false, true)
	want(now.Add(4*time.Minute), false, false)
}

func TestSnapshotIsDeterministic(t *testing.T) {
	dir := t.TempDir()
	for i := range 30 {
		put(t, fmt.Sprintf("%s/%d/%d.yaml", dir, i%7, i), configMap(fmt.Sprintf("n%d", i)))
	}
	a, b := testScanner(t, dir), testScanner(t, dir)
	if a.look(time.Now()).fingerprint != b.look(time.Now()).fingerprint || names(a.snapshot()) != names(b.snapshot()) {
		t.Error("two looks differ")
	}
}

// BenchmarkRescan looks again at 10,000 files that did not change.
func BenchmarkRescan(b *testing.B) {
	dir := b.TempDir()
	old := time.Now().Add(-time.Hour)
	for i := range 10_000 {
		path := fmt.Sprintf("%s/%02d/%d.yaml", dir, i%50, i)
		if i < 50 {
			if err := os.Mkdir(fmt.Sprintf("%s/%02d", dir, i), 0o700); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(path, []byte(configMap(fmt.Sprintf("n%d", i))), 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			b.Fatal(err)
		}
	}
	s := testScanner(b, dir)
	s.look(time.Now().Add(time.Minute)) // as if the files were old
	b.ResetTimer()
	for b.Loop() {
		s.look(time.Now().Add(time.Minute))
	}
}
