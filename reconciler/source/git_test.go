package source

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/agekeys"
	"github.com/vzreconciler/vzreconciler/reconciler/source/git"
)

// origin is a repository that a Git source reads.
type origin struct {
	t   *testing.T
	dir string
}

func newOrigin(t *testing.T) *origin {
	t.Helper()
	o := &origin{t, t.TempDir()}
	o.git("init", "-q", "-b", "main")
	return o
}

func (o *origin) git(args ...string) string {
	o.t.Helper()
	cmd := exec.CommandContext(o.t.Context(), "git", args...)
	cmd.Dir = o.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		o.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit replaces what is in m by these files, and commits that.
func (o *origin) commit(files map[string]string, args ...string) string {
	o.t.Helper()
	do(o.t, os.RemoveAll(filepath.Join(o.dir, "m")))
	for name, data := range files {
		put(o.t, filepath.Join(o.dir, "m", name), data)
	}
	o.git("add", "-A")
	o.git(append([]string{"commit", "-q", "--allow-empty", "-m", "change"}, args...)...)
	return o.git("rev-parse", "HEAD")
}

// gitWatched runs a Git source.
type gitWatched struct {
	*watched
	g    *Git
	opts GitOptions
	stop func()

	mu     sync.Mutex
	events []string
}

func watchGit(t *testing.T, o *origin, opts GitOptions) *gitWatched {
	t.Helper()
	opts.Location = git.Location{URL: "file://" + o.dir, Branch: "main", Path: "m"}
	opts.Interval = time.Hour // so that only Resync makes it look
	if opts.Dir == "" {
		opts.Dir = filepath.Join(t.TempDir(), "git")
	}
	w := &gitWatched{watched: &watched{t: t, snapshots: make(chan Snapshot, 10_000)}}
	opts.Event = func(_ bool, reason, message string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, reason+": "+message)
	}
	w.opts = opts
	w.g = NewGit(opts)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.g.Run(ctx, func(s Snapshot) { w.snapshots <- s }) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
	t.Cleanup(w.stop)
	w.next()
	return w
}

// again begins a new daemon's source.
func (w *gitWatched) again(o *origin) *gitWatched {
	w.t.Helper()
	w.stop()
	return watchGit(w.t, o, w.opts)
}

// untilCommit waits for a snapshot with such names of a commit.
func (w *gitWatched) untilCommit(commit, want string) {
	w.t.Helper()
	w.g.Resync()
	w.untilFits(fmt.Sprintf("%q of %s", want, commit), func(s Snapshot) bool {
		return names(s) == want && s.Sources[0].Revision != nil && s.Sources[0].Revision.Commit == commit && s.Sources[0].Problem == nil
	})
}

func (w *gitWatched) untilRefused(text string) {
	w.t.Helper()
	w.g.Resync()
	w.untilFits("refused", func(s Snapshot) bool {
		p := s.Sources[0].Problem
		return p != nil && p.Reason == ReasonCommitRefused && strings.Contains(p.Message, text)
	})
}

func (w *gitWatched) wantEvent(text string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if strings.Contains(e, text) {
			return
		}
	}
	w.t.Errorf("no event has %q: %q", text, w.events)
}

func TestCommitsAreFollowedForthAndBack(t *testing.T) {
	o := newOrigin(t)
	first := o.commit(map[string]string{"a.yaml": configMap("a"), "sub/b.yaml": configMap("b"), "README.md": "text"})
	w := watchGit(t, o, GitOptions{})
	w.untilCommit(first, "a b")
	object := w.last.Objects[1]
	if want := "file://" + o.dir + "#main:m/sub/b.yaml"; object.Position.File != want {
		t.Errorf("file %s, want %s", object.Position.File, want)
	}
	if r := object.Revision; r.Commit != first || r.Author != "Ann <ann@example.com>" || r.Branch != "main" || r.Time.IsZero() {
		t.Errorf("revision %+v", r)
	}
	if !w.last.Sources[0].Holds(object.Position.File) || w.last.Sources[0].Holds("file://"+o.dir+"#main:n/b.yaml") {
		t.Errorf("roots %q", w.last.Sources[0].Roots)
	}
	second := o.commit(map[string]string{"a.yaml": configMap("a", "c")})
	w.untilCommit(second, "a c")
	o.git("revert", "--no-edit", second)
	w.untilCommit(o.git("rev-parse", "HEAD"), "a b")
	o.git("reset", "-q", "--hard", second) // as after a push with force
	w.untilCommit(second, "a c")
	w.wantEvent("CommitTaken: file://" + o.dir + "#main:m is at commit " + second[:7] + " by Ann <ann@example.com>")
}

func TestACommitIsTakenWholeOrNotAtAll(t *testing.T) {
	good := map[string]string{}
	for i := range 10 {
		good[fmt.Sprintf("%d.yaml", i)] = configMap(fmt.Sprintf("n%d", i))
	}
	const all = "n0 n1 n2 n3 n4 n5 n6 n7 n8 n9"
	sandbox := func(image string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: c, image: \"" + image + "\"}\n"
	}
	o := newOrigin(t)
	w := watchGit(t, o, GitOptions{})
	for name, test := range map[string]struct{ file, data, want string }{
		"does not parse":       {"3.yaml", "kind: [\n", "m/3.yaml:1:7: not valid YAML"},
		"has an unknown field": {"3.yaml", configMap("x") + "dta: {}\n", "m/3.yaml:6:1: ConfigMap default/x: dta"},
		"has a name twice":     {"3.yaml", configMap("n4"), "m/4.yaml:2:1: ConfigMap default/n4: it is in file://"},
		"is empty":             {"3.yaml", "", "m/3.yaml: the file is empty"},
		"has a relative image": {"3.yaml", sandbox("docker-archive:x.tar"), "m/3.yaml:1:1: Sandbox default/p: image of container c: \"x.tar\" must be absolute"},
		"is kept by LFS":       {"3.yaml", "version https://git-lfs.github.com/spec/v1\n", "m/3.yaml: is kept by Git LFS"},
	} {
		first := o.commit(good)
		w.untilCommit(first, all)
		bad := maps.Clone(good)
		bad["new.yaml"] = configMap("new")
		delete(bad, "0.yaml")
		bad[test.file] = test.data
		commit := o.commit(bad)
		w.untilRefused(test.want)
		if names(w.last) != all || w.last.Sources[0].Revision.Commit != first || w.last.Objects[0].Revision.Commit != first {
			t.Errorf("a file %s: %s of %+v is in force", name, describeSnapshot(w.last), w.last.Sources[0].Revision)
		}
		e := w.last.Errors[0]
		if text := e.Error(); !strings.Contains(text, "#main:"+test.want) || !strings.Contains(text, "(commit "+commit[:7]+")") {
			t.Errorf("a file %s: %s", name, text)
		}
		if e.Key != nil {
			t.Errorf("a file %s: the error is about %s, which is in force as it was", name, e.Key)
		}
		w.wantEvent("CommitRefused: ")
	}
}

func TestAFirstCommitThatIsBadLeavesTheSourceUnknown(t *testing.T) {
	o := newOrigin(t)
	o.commit(map[string]string{"a.yaml": configMap("a") + "dta: {}\n"})
	w := watchGit(t, o, GitOptions{})
	w.untilRefused("m/a.yaml:6:1")
	if w.last.Complete || len(w.last.Objects) != 0 || w.last.Errors[0].Key == nil {
		t.Errorf("%s", describeSnapshot(w.last))
	}
}

func TestWhatIsInForceStaysWhileTheRepositoryIsGone(t *testing.T) {
	o := newOrigin(t)
	w := watchGit(t, o, GitOptions{})
	if w.last.Complete || !w.last.Sources[0].LastSync.IsZero() {
		t.Errorf("complete before there was a commit")
	}
	first := o.commit(map[string]string{"a.yaml": configMap("a")})
	w.untilCommit(first, "a")

	away := o.dir + "-away"
	do(t, os.Rename(o.dir, away))
	w.g.Resync()
	w.untilError("file://"+o.dir+"#main:m", "cannot be fetched: open the repository")
	if names(w.last) != "a" {
		t.Errorf("without the repository: %s", describeSnapshot(w.last))
	}
	reached := w.g.Status()[0].LastSync

	// Another daemon begins with what was kept.
	w = w.again(o)
	if names(w.last) != "a" || w.last.Objects[0].Revision.Commit != first {
		t.Fatalf("after a restart: %s", describeSnapshot(w.last))
	}
	if at := w.g.Status()[0].LastSync; at.Sub(reached).Abs() > time.Millisecond {
		t.Errorf("after a restart it was last reached at %s, want %s", at, reached)
	}
	w.untilError("file://"+o.dir+"#main:m", "what commit "+first[:7]+" says stays in force")

	do(t, os.Rename(away, o.dir))
	second := o.commit(map[string]string{"b.yaml": configMap("b")})
	w.untilCommit(second, "b")
	w.wantEvent("SourceReachable: ")

	o.git("checkout", "-q", "-b", "other")
	o.git("branch", "-q", "-D", "main")
	w.g.Resync()
	w.untilError("file://"+o.dir+"#main:m", "no such branch")
	if names(w.last) != "b" {
		t.Errorf("without the branch: %s", describeSnapshot(w.last))
	}
}

func TestACommitInWhichThePathIsGoneIsRefused(t *testing.T) {
	o := newOrigin(t)
	first := o.commit(map[string]string{"a.yaml": configMap("a")})
	w := watchGit(t, o, GitOptions{})
	w.untilCommit(first, "a")
	o.commit(nil)
	w.untilRefused("no such directory")
	if names(w.last) != "a" {
		t.Errorf("%s", describeSnapshot(w.last))
	}
	// Nothing has to be committed for that to be over.
	o.git("reset", "-q", "--hard", first)
	w.untilCommit(first, "a")
}

func TestWhatIsKeptIsPrivateAndForgottenWithItsSource(t *testing.T) {
	o := newOrigin(t)
	w := watchGit(t, o, GitOptions{})
	w.untilCommit(o.commit(map[string]string{"s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: b}\n"}), "s")
	check := func(path string, mode os.FileMode) {
		t.Helper()
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, fi, err)
		}
	}
	check(w.opts.Dir, 0o700)
	check(w.g.keptFile(), 0o600)
	put(t, filepath.Join(w.opts.Dir, "fetch-1", "x"), "left by a crash")
	do(t, CleanGit(w.opts.Dir, []*Git{w.g}))
	if left, err := os.ReadDir(w.opts.Dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
	do(t, CleanGit(w.opts.Dir, nil))
	if left, err := os.ReadDir(w.opts.Dir); err != nil || len(left) != 0 {
		t.Errorf("left of a source that is no more: %v, %v", left, err)
	}
	do(t, CleanGit(filepath.Join(w.opts.Dir, "none"), nil))
}

func TestKeptFileThatCannotBeReadIsDoneWithout(t *testing.T) {
	o := newOrigin(t)
	commit := o.commit(map[string]string{"a.yaml": configMap("a")})
	w := watchGit(t, o, GitOptions{})
	w.untilCommit(commit, "a")
	for _, data := range []string{"{", "{}", `{"version": 1, "source": "another"}`} {
		w.stop()
		put(t, w.g.keptFile(), data)
		w = w.again(o)
		w.untilCommit(commit, "a")
	}
}

func TestOnlySignedCommitsAreTakenWhenThatIsAskedFor(t *testing.T) {
	o := newOrigin(t)
	key := filepath.Join(t.TempDir(), "key")
	if out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	do(t, err)
	o.git("config", "gpg.format", "ssh")
	o.git("config", "user.signingkey", key)
	signers := filepath.Join(t.TempDir(), "signers")
	put(t, signers, "ann@example.com "+string(public))

	signed := o.commit(map[string]string{"a.yaml": configMap("a")}, "-S")
	w := watchGit(t, o, GitOptions{Verify: git.Verify{AllowedSigners: signers}})
	w.untilCommit(signed, "a")
	if s := w.last.Objects[0].Revision.Signer; s != "ann@example.com" {
		t.Errorf("signed by %q", s)
	}
	unsigned := o.commit(map[string]string{"b.yaml": configMap("b")})
	w.untilRefused("commit " + unsigned[:7] + " by Ann <ann@example.com> is not taken")
	if names(w.last) != "a" || !strings.Contains(w.last.Errors[0].Error(), "it is not signed (commit "+unsigned[:7]+")") {
		t.Errorf("%s", describeSnapshot(w.last))
	}
	// So it is for the next daemon.
	w = w.again(o)
	if names(w.last) != "a" {
		t.Errorf("after a restart: %s", describeSnapshot(w.last))
	}
	w.untilRefused("it is not signed")
	// Who signs today may be another than who did.
	second := o.commit(map[string]string{"c.yaml": configMap("c")}, "-S")
	put(t, signers, "# nobody\n")
	w.untilRefused("no key in it may sign")
	w = w.again(o)
	if names(w.last) != "?" {
		t.Errorf("what nobody vouches for any more is in force: %s", describeSnapshot(w.last))
	}
	put(t, signers, "ann@example.com "+string(public))
	w.untilCommit(second, "c")
}

// brokenRemote cannot be reached, until it can.
type brokenRemote struct {
	start time.Time
	at    []time.Duration
	err   error
}

func (r *brokenRemote) Fetch(context.Context, string, func(*git.Commit) error) (string, error) {
	r.at = append(r.at, time.Since(r.start))
	return "abc", r.err
}

func TestARepositoryThatIsGoneIsAskedForAgainAndSaidToBeUnreachableInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		remote := &brokenRemote{start: time.Now(), err: errors.New("no route")}
		g := NewGit(GitOptions{Location: git.Location{URL: "https://h/r", Branch: "main"}, Interval: 30 * time.Second, Dir: t.TempDir()})
		g.remote = remote
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var unreachable, reached time.Duration
		err := g.Run(ctx, func(s Snapshot) {
			switch p := s.Sources[0].Problem; {
			case p != nil && p.Reason == ReasonSourceUnreachable && unreachable == 0:
				unreachable = time.Since(remote.start)
				remote.err = nil
			case p == nil && unreachable > 0 && reached == 0:
				reached = time.Since(remote.start)
			}
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		wantTimes(t, "asked", remote.at[:6], 0, 5*time.Second, 15*time.Second, 35*time.Second, 65*time.Second, 95*time.Second)
		wantTimes(t, "unreachable, reached", []time.Duration{unreachable, reached}, 155*time.Second, 185*time.Second)
		if len(remote.at) < 20 || g.Status()[0].LastSync.IsZero() {
			t.Errorf("asked at %v", remote.at)
		}
	})
}

func TestCommitThatNeedsAKeyIsTakenWhenTheKeyIsThere(t *testing.T) {
	fixture := func(name string) string {
		data, err := os.ReadFile("../../manifests/testdata/sops/" + name)
		do(t, err)
		return string(data)
	}
	keyFile := filepath.Join(t.TempDir(), "age.key")
	o := newOrigin(t)
	commit := o.commit(map[string]string{"secret.yaml": fixture("secret.yaml")})
	w := watchGit(t, o, GitOptions{Keys: agekeys.File(keyFile)})
	w.untilRefused("secret.yaml:24:9: Secret prod/db: sops.age: cannot be decrypted: open " + keyFile + ": no such file")
	do(t, os.WriteFile(keyFile, []byte(fixture("age.key")), 0o600))
	w.untilCommit(commit, "db")
	// What the next daemon finds is as it was committed.
	kept, err := os.ReadFile(w.g.keptFile())
	do(t, err)
	if !strings.Contains(string(kept), base64.StdEncoding.EncodeToString([]byte(fixture("secret.yaml")))) {
		t.Errorf("kept %d bytes, without the file as it is in the commit", len(kept))
	}
	w.again(o).untilCommit(commit, "db")
}
