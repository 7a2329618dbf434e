package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watched runs a Directory on the given directories.
type watched struct {
	t         *testing.T
	d         *Directory
	snapshots chan Snapshot
	last      Snapshot
	log       *bytes.Buffer
}

const patiently = 20 * time.Second

func watch(t *testing.T, opts Options, dirs ...string) *watched {
	t.Helper()
	w := &watched{t: t, snapshots: make(chan Snapshot, 10_000), log: &bytes.Buffer{}}
	opts.Log = slog.New(slog.NewTextHandler(w.log, nil))
	if opts.Settle == 0 {
		opts.Settle = 300 * time.Millisecond
	}
	if opts.Resync == 0 {
		opts.Resync = time.Hour // so that only events tell
	}
	w.d = NewDirectory(dirs, opts)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.d.Run(ctx, func(s Snapshot) { w.snapshots <- s }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
	w.next()
	return w
}

// next waits for a snapshot.
func (w *watched) next() Snapshot {
	w.t.Helper()
	select {
	case w.last = <-w.snapshots:
	case <-time.After(patiently):
		w.t.Fatalf("no snapshot came; the last was %s", describeSnapshot(w.last))
	}
	return w.last
}

// names returns the names of a snapshot's objects, in order, and "?" if it is
// not complete.
func names(s Snapshot) string {
	var out []string
	for _, o := range s.Objects {
		out = append(out, o.Key.Name)
	}
	if !s.Complete {
		out = append(out, "?")
	}
	return strings.Join(out, " ")
}

func describeSnapshot(s Snapshot) string {
	return fmt.Sprintf("%q with errors %v", names(s), s.Errors)
}

// until waits for a snapshot whose names are these, and returns all on the way.
func (w *watched) until(want string) (seen []string) {
	w.t.Helper()
	return w.untilFits(fmt.Sprintf("%q", want), func(s Snapshot) bool { return names(s) == want })
}

func (w *watched) untilFits(what string, fits func(Snapshot) bool) (seen []string) {
	w.t.Helper()
	deadline := time.After(patiently)
	for !fits(w.last) {
		select {
		case w.last = <-w.snapshots:
			seen = append(seen, names(w.last))
		case <-deadline:
			w.t.Fatalf("no snapshot is %s; the last was %s; seen: %q", what, describeSnapshot(w.last), seen)
		}
	}
	return seen
}

// untilError waits for a complete or incomplete snapshot with such an error.
func (w *watched) untilError(file, message string) {
	w.t.Helper()
	w.untilFits("with error "+message, func(s Snapshot) bool {
		for _, e := range s.Errors {
			if e.File == file && strings.Contains(e.Message, message) {
				return true
			}
		}
		return false
	})
}

func configMap(names ...string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {a: b}\n", name)
	}
	return b.String()
}

func put(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreSeenWhenWrittenChangedMovedAndRemoved(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a.yaml", configMap("a"))
	w := watch(t, Options{}, dir)
	if got := names(w.last); got != "a" {
		t.Fatalf("first snapshot: %s", describeSnapshot(w.last))
	}
	put(t, dir+"/b.yml", configMap("b1", "b2"))
	w.until("a b1 b2")
	put(t, dir+"/b.yml", configMap("b2", "b3"))
	w.until("a b2 b3")
	other := t.TempDir() + "/c.json"
	put(t, other, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}`)
	do(t, os.Rename(other, dir+"/c.json"))
	w.until("a b2 b3 c")
	do(t, os.Remove(dir+"/b.yml"))
	w.until("a c")
}

func TestChangeIsGivenOutSoon(t *testing.T) {
	dir := t.TempDir()
	w := watch(t, Options{}, dir)
	var total time.Duration
	const times = 10
	for i := range times {
		name := fmt.Sprintf("n%d", i)
		start := time.Now()
		put(t, dir+"/a.yaml", configMap(name))
		w.untilFits(name, func(s Snapshot) bool { return len(s.Objects) > 0 && s.Objects[0].Key.Name == name })
		total += time.Since(start)
	}
	t.Logf("%v on average", total/times)
	if total/times > time.Second {
		t.Errorf("a change took %v on average", total/times)
	}
}

func TestNothingIsGivenOutWhenNothingChanged(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a.yaml", configMap("a"))
	w := watch(t, Options{}, dir)
	put(t, dir+"/a.yaml", configMap("a")) // the same again
	put(t, dir+"/README.md", "text")
	put(t, dir+"/.b.yaml.swp", configMap("swap"))
	put(t, dir+"/a.yaml~", configMap("backup"))
	put(t, dir+"/.git/x.yaml", configMap("hidden"))
	put(t, dir+"/z.yaml", configMap("z")) // the mark that all was seen
	if seen := w.until("a z"); len(seen) != 1 {
		t.Errorf("seen on the way: %q", seen)
	}
}

func TestOnDemandWithRealFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a.yaml", configMap("a"))
	w := watch(t, Options{}, dir)
	w.d.Resync()
	if got := names(w.next()); got != "a" {
		t.Errorf("got %q", got)
	}
	if w.d.Status()[0].LastSync.IsZero() {
		t.Error("no complete look is noted")
	}
}

func TestObjectsOfAHalfWrittenFileAreKept(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a.yaml", configMap("a"))
	w := watch(t, Options{Settle: time.Hour}, dir)
	put(t, dir+"/a.yaml", configMap("a")+"---\napiVersion: v1\nkind: Confi")
	put(t, dir+"/b.yaml", configMap("b"))
	for _, s := range w.until("a b ?") {
		if !strings.HasPrefix(s, "a") {
			t.Errorf("a was missing: %q", s)
		}
	}
	if len(w.last.Errors) != 0 {
		t.Errorf("errors of a file that may be half written: %v", w.last.Errors)
	}
	put(t, dir+"/a.yaml", configMap("a", "a2"))
	w.until("a a2 b")
}

func TestBrokenFileIsReportedOnceItIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a.yaml", configMap("a"))
	w := watch(t, Options{}, dir)
	put(t, dir+"/a.yaml", configMap("a")+"---\nkind: [\n")
	w.untilFits("with an error", func(s Snapshot) bool { return len(s.Errors) > 0 })
	if w.last.Errors[0].File != dir+"/a.yaml" || w.last.Errors[0].Line == 0 {
		t.Errorf("the error is %v", w.last.Errors[0])
	}
	put(t, dir+"/a.yaml", configMap("a"))
	w.untilFits("without errors", func(s Snapshot) bool { return names(s) == "a" && len(s.Errors) == 0 })
}

func TestFileBrokenFromTheStartIsReportedAtOnce(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a.yaml", "kind: [")
	w := watch(t, Options{Settle: time.Hour}, dir)
	if len(w.last.Errors) == 0 {
		t.Error("no error")
	}
}

func TestObjectOnItsWayFromFileToFileIsNotMissed(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a.yaml", configMap("a"))
	put(t, dir+"/b.yaml", configMap("b"))
	w := watch(t, Options{Settle: 500 * time.Millisecond}, dir)
	do(t, os.Remove(dir+"/a.yaml"))
	w.until("b ?") // not believed yet
	put(t, dir+"/sub/c.yaml", configMap("a"))
	w.until("b a")
	do(t, os.Remove(dir+"/b.yaml"))
	if seen := w.until("a"); len(seen) != 2 || seen[0] != "a ?" {
		t.Errorf("seen %q, want %q first", seen, "a ?")
	}
}

func TestEmptiedFileIsAnError(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a.yaml", configMap("a"))
	w := watch(t, Options{}, dir)
	put(t, dir+"/a.yaml", "")
	w.untilError(dir+"/a.yaml", "empty")
}

func TestDirectoriesMadeInABurstAreSeen(t *testing.T) {
	dir := t.TempDir()
	w := watch(t, Options{}, dir)
	var want []string
	for i := range 20 {
		name := fmt.Sprintf("n%02d", i)
		put(t, fmt.Sprintf("%s/%02d/x/y/z/a.yaml", dir, i), configMap(name))
		want = append(want, name)
	}
	w.until(strings.Join(want, " "))
	put(t, dir+"/07/x/y/z/b.yaml", configMap("deep"))
	w.untilFits("with deep", func(s Snapshot) bool { return strings.Contains(names(s), " deep ") && s.Complete })
	do(t, os.RemoveAll(dir+"/07"))
	w.untilFits("without 07", func(s Snapshot) bool {
		return s.Complete && !strings.Contains(names(s), "n07") && !strings.Contains(names(s), "deep")
	})
}

func TestMovedDirectoryIsStillWatched(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/old/sub/a.yaml", configMap("a"))
	w := watch(t, Options{}, dir)
	do(t, os.Rename(dir+"/old", dir+"/new"))
	w.untilFits("at its new place", func(s Snapshot) bool {
		return len(s.Objects) == 1 && s.Objects[0].Position.File == dir+"/new/sub/a.yaml"
	})
	put(t, dir+"/new/sub/b.yaml", configMap("b"))
	w.until("a b")
	// Another directory takes the old name.
	put(t, dir+"/old/sub/c.yaml", configMap("c"))
	w.until("a b c")
	put(t, dir+"/old/sub/d.yaml", configMap("d"))
	w.until("a b c d")
}

func TestDirectoryThatVanishesDeletesNothing(t *testing.T) {
	parent := t.TempDir()
	dir := parent + "/manifests"
	put(t, dir+"/a.yaml", configMap("a"))
	w := watch(t, Options{}, dir)
	do(t, os.Rename(dir, parent+"/away"))
	w.untilError(dir, "does not exist")
	if w.last.Complete {
		t.Error("complete without its directory")
	}
	do(t, os.Rename(parent+"/away", dir))
	w.until("a")
	do(t, os.RemoveAll(dir))
	w.untilError(dir, "does not exist")
	put(t, dir+"/b.yaml", configMap("b")) // made anew
	w.until("b")
}

func TestDirectoryThatVanishesWhileItsFileIsOpenIsNoticed(t *testing.T) {
	dir := t.TempDir() + "/manifests"
	put(t, dir+"/a.yaml", configMap("a"))
	w := watch(t, Options{}, dir)
	f, err := os.Open(dir + "/a.yaml")
	do(t, err)
	defer f.Close()
	do(t, os.RemoveAll(dir))
	w.untilError(dir, "does not exist")
	put(t, dir+"/b.yaml", configMap("b"))
	w.until("b")
}

func TestMissingDirectoryIsWaitedFor(t *testing.T) {
	dir := t.TempDir() + "/not/yet"
	w := watch(t, Options{}, dir)
	if w.last.Complete || len(w.last.Errors) != 1 {
		t.Fatalf("first snapshot: %s", describeSnapshot(w.last))
	}
	put(t, dir+"/a.yaml", configMap("a"))
	w.until("a")
}

func TestGitSyncsFlipIsSeen(t *testing.T) {
	root := t.TempDir()
	put(t, root+"/.worktrees/1/m/a.yaml", configMap("a"))
	do(t, os.Symlink(".worktrees/1", root+"/current"))
	w := watch(t, Options{}, root+"/current/m")
	if got := names(w.last); got != "a" {
		t.Fatalf("first snapshot: %s", describeSnapshot(w.last))
	}
	for i := 2; i < 6; i++ {
		tree := fmt.Sprintf("%s/.worktrees/%d", root, i)
		put(t, tree+"/m/a.yaml", configMap("a", fmt.Sprintf("n%d", i)))
		do(t, os.Symlink(tree, root+"/tmp-link"))
		do(t, os.Rename(root+"/tmp-link", root+"/current"))
		w.until(fmt.Sprintf("a n%d", i))
		if file := w.last.Objects[0].Position.File; file != root+"/current/m/a.yaml" {
			t.Fatalf("file %s, want the name that was asked for", file)
		}
		do(t, os.RemoveAll(fmt.Sprintf("%s/.worktrees/%d", root, i-1)))
	}
}

func TestConfigMapVolumesFlipIsSeen(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/..2026_1/a.yaml", configMap("a1"))
	do(t, os.Symlink("..2026_1", dir+"/..data"))
	do(t, os.Symlink("..data/a.yaml", dir+"/a.yaml"))
	w := watch(t, Options{}, dir)
	if got := names(w.last); got != "a1" {
		t.Fatalf("first snapshot: %s", describeSnapshot(w.last))
	}
	put(t, dir+"/..2026_2/a.yaml", configMap("a2"))
	do(t, os.Symlink("..2026_2", dir+"/..data_tmp"))
	do(t, os.Rename(dir+"/..data_tmp", dir+"/..data"))
	do(t, os.RemoveAll(dir+"/..2026_1"))
	w.until("a2")
}

func TestFileBehindALinkIsWatched(t *testing.T) {
	dir := t.TempDir()
	other := dir + "/.data"
	put(t, other+"/data.txt", configMap("a"))
	do(t, os.Symlink(other+"/data.txt", dir+"/a.yaml"))
	w := watch(t, Options{}, dir)
	put(t, other+"/data.txt", configMap("b"))
	w.until("b")
}

func TestLinkThatLeadsOutIsAnErrorAndNotFollowed(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	put(t, dir+"/a.yaml", configMap("a"))
	put(t, other+"/b.yaml", configMap("b"))
	w := watch(t, Options{}, dir)
	w.until("a")
	do(t, os.Symlink(other, dir+"/out"))
	do(t, os.Symlink(other+"/b.yaml", dir+"/out.yaml"))
	w.untilError(dir+"/out.yaml", "leads out")
	w.untilError(dir+"/out", "leads out")
	if len(w.last.Objects) != 1 {
		t.Errorf("objects %v, want only a", w.last.Objects)
	}
}

func TestLinksThatLeadNowhereOrRoundAreErrors(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/sub/a.yaml", configMap("a"))
	w := watch(t, Options{}, dir)
	do(t, os.Symlink("..", dir+"/sub/up"))
	w.untilError(dir+"/sub/up", "above it")
	do(t, os.Symlink("self.yaml", dir+"/self.yaml"))
	w.untilError(dir+"/self.yaml", "loop")
	do(t, os.Symlink("/nowhere/at/all", dir+"/gone"))
	w.untilError(dir+"/gone", "does not exist")
	if w.last.Complete {
		t.Error("complete although a link leads nowhere")
	}
	for _, name := range []string{"sub/up", "self.yaml", "gone"} {
		do(t, os.Remove(filepath.Join(dir, name)))
	}
	w.until("a")
}

func TestFilesUnfitToBeManifestsAreErrors(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a.yaml", configMap("a"))
	w := watch(t, Options{MaxFileBytes: 1000}, dir)
	do(t, syscall.Mkfifo(dir+"/fifo.yaml", 0o600))
	w.untilError(dir+"/fifo.yaml", "named pipe")
	put(t, dir+"/big.yaml", strings.Repeat("# more\n", 1000))
	w.untilError(dir+"/big.yaml", "too big")
	if got := names(w.last); !strings.HasPrefix(got, "a") {
		t.Errorf("the good file suffers: %q", got)
	}
}

func TestSeveralDirectoriesInOrderOfPath(t *testing.T) {
	parent := t.TempDir()
	put(t, parent+"/b/1.yaml", configMap("b"))
	put(t, parent+"/a/2.yaml", configMap("a2", "a1"))
	put(t, parent+"/a/1/x.yaml", configMap("a0"))
	w := watch(t, Options{}, parent+"/b", parent+"/a", parent+"/a/1")
	if got := names(w.last); got != "a0 a2 a1 b" {
		t.Errorf("got %s", describeSnapshot(w.last))
	}
}

func TestWithoutEventsFilesArePolled(t *testing.T) {
	dir := t.TempDir()
	log := &bytes.Buffer{}
	w := newWatcher(slog.New(slog.NewTextHandler(log, nil)))
	_ = w.fs.Close() // adding fails from now on, as at the system's limit
	defer w.close()
	s := newScanner([]string{dir}, NewDirectory(nil, Options{}).opts, w)
	s.look(time.Now())
	s.look(time.Now())
	if !w.limited() {
		t.Error("not limited without a watch")
	}
	if n := strings.Count(log.String(), "max_user_watches"); n != 1 {
		t.Errorf("warned %d times: %s", n, log)
	}
}

func TestLostEventsMeanLookingAgain(t *testing.T) {
	events, errs := make(chan fsnotify.Event), make(chan error)
	w := &watcher{
		log: slog.New(slog.DiscardHandler), C: make(chan struct{}, 1),
		fs: &fsnotify.Watcher{Events: events, Errors: errs},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.run()
	}()
	for range 3 {
		errs <- fsnotify.ErrEventOverflow
	}
	<-w.C
	close(events)
	close(errs)
	<-done
}
