package reconciler

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

// startOnDisk runs a daemon outside of virtual time, that reads its manifests as
// the real one does.
func (w *world) startOnDisk(opts source.Options) {
	w.t.Helper()
	opts.Log = w.log
	w.real = source.NewDirectory([]string{w.dir}, opts)
	w.run()
	w.t.Cleanup(func() {
		w.halt()
		w.runtimes.killAll()
	})
}

// until waits for a condition in real time.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.After(60 * time.Second); !ok(); {
		select {
		case <-deadline:
			w.t.Fatalf("not within 60s: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// asNobody runs the test in another process, which is not root's.
func asNobody(t *testing.T) {
	t.Helper()
	const nobody = 65534
	dir, err := os.MkdirTemp("", "nobody") //nolint:usetesting // its parents are private
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program := filepath.Join(dir, "test")
	self, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = errors.Join(os.WriteFile(program, self, 0o755), os.Chown(dir, nobody, nobody)) //nolint:gosec // for all to run
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

// inSync reports whether a sandbox is Ready and Synced.
func (w *world) inSync(name string) bool {
	v := w.m.lookup(sandboxKey(name))
	return v != nil && isTrue(v.status.Conditions, manifests.ConditionReady) && isTrue(v.status.Conditions, manifests.ConditionSynced)
}

func TestWhateverBecomesOfADirectoryItsSandboxesRunOn(t *testing.T) {
	const fleet = 5
	must := func(t *testing.T, errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		lose, restore func(t *testing.T, dir string)
		reason, text  string
	}{
		"renamed, as an unmounted one's mount point may be": {
			func(t *testing.T, dir string) { must(t, os.Rename(dir, dir+"-away")) },
			func(t *testing.T, dir string) { must(t, os.Rename(dir+"-away", dir)) },
			ReasonFileMissing, "does not exist",
		},
		"replaced by an empty one": {
			func(t *testing.T, dir string) { must(t, os.Rename(dir, dir+"-away"), os.Mkdir(dir, 0o700)) },
			func(t *testing.T, dir string) { must(t, os.Remove(dir), os.Rename(dir+"-away", dir)) },
			ReasonPruneHeld, "vzctl prune --confirm",
		},
		"emptied": {
			func(t *testing.T, dir string) {
				must(t, os.Mkdir(dir+"-away", 0o700))
				for i := range fleet {
					must(t, os.Rename(fmt.Sprintf("%s/%d.yaml", dir, i), fmt.Sprintf("%s-away/%d.yaml", dir, i)))
				}
			},
			func(t *testing.T, dir string) {
				for i := range fleet {
					must(t, os.Rename(fmt.Sprintf("%s-away/%d.yaml", dir, i), fmt.Sprintf("%s/%d.yaml", dir, i)))
				}
			},
			ReasonPruneHeld, "vzctl prune --confirm",
		},
		"replaced by a file": {
			func(t *testing.T, dir string) {
				must(t, os.Rename(dir, dir+"-away"), os.WriteFile(dir, nil, 0o600))
			},
			func(t *testing.T, dir string) { must(t, os.Remove(dir), os.Rename(dir+"-away", dir)) },
			ReasonFileMissing, "not a directory",
		},
		"without_permissions": {
			func(t *testing.T, dir string) {
				must(t, os.Chmod(dir, 0))
			},
			func(t *testing.T, dir string) { must(t, os.Chmod(dir, 0o700)) },
			ReasonFileMissing, "permission denied",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.text == "permission denied" && os.Getuid() == 0 {
				asNobody(t) // for root may read everything
				return
			}
			w := newWorld(t)
			var names []string
			for i := range fleet {
				name := fmt.Sprintf("s%d", i)
				names = append(names, name)
				must(t, os.WriteFile(fmt.Sprintf("%s/%d.yaml", w.dir, i), []byte(sandbox(name)), 0o600))
			}
			all := func(ok func(name string) bool) func() bool {
				return func() bool {
					for _, name := range names {
						if !ok(name) {
							return false
						}
					}
					return true
				}
			}
			w.startOnDisk(source.Options{Settle: 200 * time.Millisecond})
			w.until("all are ready", all(w.inSync))
			test.lose(t, w.dir)
			w.until("all tell of it", all(func(name string) bool {
				v := w.m.lookup(sandboxKey(name))
				for _, c := range v.status.Conditions {
					if c.Type == manifests.ConditionSynced && c.Reason == test.reason && strings.Contains(c.Message, test.text) {
						return isTrue(v.status.Conditions, manifests.ConditionReady)
					}
				}
				return false
			}))
			test.restore(t, w.dir)
			w.until("all are in sync again", all(w.inSync))
			for _, name := range names {
				if n := w.runtimes.launched(name); n != 1 {
					t.Errorf("%s was launched %d times", name, n)
				}
			}
		})
	}
}

// TestFlipsDisturbNobody has a real directory flip as git-sync and the kubelet
// flip theirs.
func TestFlipsDisturbNobody(t *testing.T) {
	const flips = 200
	layouts := map[string]struct {
		watched string                                // below the root
		tree    func(root string, i int) (dir string) // of the i-th version
		link    string                                // below the root
	}{
		"git-sync": {"current/m", func(root string, i int) string { return fmt.Sprintf("%s/.worktrees/%d/m", root, i) }, "current"},
		"kubelet":  {"", func(root string, i int) string { return fmt.Sprintf("%s/..%d", root, i) }, "..data"},
	}
	for name, layout := range layouts {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			root := t.TempDir()
			flip := func(i int) {
				t.Helper()
				dir := layout.tree(root, i)
				files := map[string]string{"web.yaml": sandbox("web"), "db.yaml": sandbox("db"), "conf.yaml": configMap("conf", "version", fmt.Sprint(i))}
				if err := os.MkdirAll(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				for file, data := range files {
					if err := os.WriteFile(filepath.Join(dir, file), []byte(data), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				target := strings.TrimSuffix(strings.TrimPrefix(dir, root+"/"), "/m")
				if err := errors.Join(os.Symlink(target, root+"/new-link"), os.Rename(root+"/new-link", filepath.Join(root, layout.link))); err != nil {
					t.Fatal(err)
				}
				if i > 0 {
					if err := os.RemoveAll(strings.TrimSuffix(layout.tree(root, i-1), "/m")); err != nil {
						t.Fatal(err)
					}
				}
			}
			flip(0)
			if layout.watched == "" {
				for _, file := range []string{"web.yaml", "db.yaml", "conf.yaml"} {
					if err := os.Symlink("..data/"+file, filepath.Join(root, file)); err != nil {
						t.Fatal(err)
					}
				}
			}
			w.dir = filepath.Join(root, layout.watched)
			w.startOnDisk(source.Options{Settle: 200 * time.Millisecond})
			conf := manifests.Key{Kind: manifests.KindConfigMap, Namespace: "default", Name: "conf"}
			w.until("both are ready", func() bool { return w.inSync("web") && w.inSync("db") })
			for i := 1; i <= flips; i++ {
				flip(i)
				if i%20 != 0 {
					continue // One flip may follow the other before anybody looks.
				}
				w.until(fmt.Sprintf("version %d is seen", i), func() bool {
					v := w.m.lookup(conf)
					return v != nil && strings.Contains(string(v.manifest), fmt.Sprintf(`"version":"%d"`, i))
				})
			}
			w.until("both are ready", func() bool { return w.inSync("web") && w.inSync("db") })
			for _, name := range []string{"web", "db"} {
				if n := w.runtimes.launched(name); n != 1 {
					t.Errorf("%s was launched %d times", name, n)
				}
				for _, e := range w.events.List(events.Filter{Name: name}) {
					if e.Type == eventWarning || e.Reason == ReasonDeleting {
						t.Errorf("%s: %s: %s", name, e.Reason, e.Message)
					}
				}
			}
		})
	}
}
