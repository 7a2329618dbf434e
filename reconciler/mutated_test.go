//go:build !race

// The race detector makes it take minutes.

package reconciler

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

const (
	mutatedFiles  = 50
	mutatedRounds = 20
	// mutantMemory is what reading one mutant may allocate: a small multiple of
	// the biggest file, whatever is in it.
	mutantMemory = 16 * manifests.MaxFileBytes
)

// A thousand manifests, each damaged in some way, are put in the place of those
// of sandboxes that run. None ends one whose last good manifest stands: what may
// change a sandbox is a file without an error, by what it says.
//
// Unlike its neighbours this runs in real time, on real files and their events.
func TestThousandMutantsStopNoSandboxWhoseLastGoodManifestStands(t *testing.T) {
	const seed = 1
	r := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	good := map[string][]byte{}
	for i := range mutatedFiles {
		text := sandbox(fmt.Sprintf("s%d", i))
		if i%5 == 0 {
			text += "---\n" + sandbox(fmt.Sprintf("t%d", i))
		}
		good[filepath.Join(w.dir, fmt.Sprintf("f%d.yaml", i))] = []byte(text)
	}
	names := slices.Sorted(maps.Keys(good))
	w.put(good)
	w.startOnDisk(source.Options{Quiet: 5 * time.Millisecond, Settle: 20 * time.Millisecond})
	w.awaitAllReady(good, "the first look")

	var disturbed, held int
	for round := range mutatedRounds {
		mutants, what := map[string][]byte{}, []string{}
		for _, name := range names {
			way, mutant := mutate(r, good[name])
			checkMemory(t, name, way, mutant)
			mutants[name] = mutant
			what = append(what, fmt.Sprintf("%s: %s", filepath.Base(name), way))
		}
		stands := lastGoodStands(good, mutants)
		before := map[string]string{}
		for name := range stands {
			before[name] = w.status(name).Runtime.BootID
		}
		check := func(when string) {
			t.Helper()
			for name := range stands {
				if st := w.status(name); st.Phase != manifests.PhaseRunning || st.Runtime.BootID != before[name] {
					t.Fatalf("seed %d, round %d: %s: %s is %s, booted again: %v\n%s\n%s", seed, round, when, name, st.Phase,
						st.Runtime.BootID != before[name], describe(st), strings.Join(what, "\n"))
				}
			}
		}
		w.put(mutants)
		w.awaitErrors(mutants)
		check("with the mutants")
		w.put(good)
		w.awaitAllReady(good, fmt.Sprintf("round %d", round))
		check("after them")
		held += len(stands)
		disturbed += mutatedFiles + mutatedFiles/5 - len(stands)
	}
	t.Logf("%d sandboxes had to be left alone, %d could change", held, disturbed)
	if held < disturbed {
		t.Error("most of the mutants are valid: that proves little")
	}
}

// checkMemory makes sure that a file costs no more than its size allows.
func checkMemory(t *testing.T, name, way string, data []byte) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	manifests.Parse(name, data)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > mutantMemory {
		t.Errorf("%s, %s: reading %d bytes allocated %d", name, way, len(data), n)
	}
}

// lastGoodStands returns the names of the sandboxes that nothing in the mutants
// may disturb: whatever claims their name says what the good manifest says, and
// if nothing does, their file has an error.
func lastGoodStands(good, mutants map[string][]byte) map[string]struct{} {
	claims := map[manifests.Key][]string{}
	broken := map[string]bool{}
	for name, data := range mutants {
		objects, errs := parseAsSource(name, data)
		for _, obj := range objects {
			if obj.Sandbox != nil {
				claims[obj.Key] = append(claims[obj.Key], obj.Sandbox.SpecHash())
			}
		}
		broken[name] = len(errs) > 0
	}
	stands := map[string]struct{}{}
	for name, data := range good {
		objects, _ := manifests.Parse(name, data)
		for _, obj := range objects {
			same := !slices.ContainsFunc(claims[obj.Key], func(hash string) bool { return hash != obj.Sandbox.SpecHash() })
			if same && (len(claims[obj.Key]) > 0 || broken[name]) {
				stands[obj.Key.Name] = struct{}{}
			}
		}
	}
	return stands
}

// parseAsSource parses as a source does, which also has errors of its own.
func parseAsSource(name string, data []byte) ([]manifests.Object, []*manifests.Error) {
	if len(data) == 0 {
		return nil, []*manifests.Error{{Position: manifests.Position{File: name}}}
	}
	return manifests.Parse(name, data)
}

// put writes files, each at once.
func (w *world) put(files map[string][]byte) {
	w.t.Helper()
	for name, data := range files {
		tmp := name + ".tmp"
		if err := os.WriteFile(tmp, data, 0o600); err != nil {
			w.t.Fatal(err)
		}
		if err := os.Rename(tmp, name); err != nil {
			w.t.Fatal(err)
		}
	}
}

// awaitErrors waits until the daemon has seen the errors of the files, and no
// others.
func (w *world) awaitErrors(files map[string][]byte) {
	w.t.Helper()
	want := map[string]int{}
	for name, data := range files {
		if _, errs := parseAsSource(name, data); len(errs) > 0 {
			want[name] = len(errs)
		}
	}
	got := map[string]int{}
	w.await("the errors of the mutants", func() bool {
		st, err := w.m.Status(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		clear(got)
		for _, e := range st.GetSourceErrors() {
			got[e.GetFile()]++
		}
		// A file that is too big is told by one error of the source's own.
		return slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	})
}

// awaitAllReady waits until every sandbox of the files is as they say.
func (w *world) awaitAllReady(files map[string][]byte, when string) {
	w.t.Helper()
	for name, data := range files {
		objects, _ := manifests.Parse(name, data)
		for _, obj := range objects {
			var st manifests.SandboxStatus
			w.await(fmt.Sprintf("%s: %s as its manifest says", when, obj.Key), func() bool {
				v := w.view(obj.Key.Name)
				if v == nil {
					return false
				}
				st = v.status
				return v.source == obj.Position && string(v.manifest) == string(obj.Manifest) && v.problem == nil &&
					isTrue(st.Conditions, manifests.ConditionReady) && isTrue(st.Conditions, manifests.ConditionSynced)
			})
		}
	}
}

// await waits in real time until something is so.
func (w *world) await(what string, so func() bool) {
	w.t.Helper()
	watch := w.m.hub.watch()
	defer w.m.hub.unwatch(watch)
	deadline := time.After(2 * time.Minute)
	for !so() {
		select {
		case <-watch.wake:
			for _, _, more := watch.take(); more; _, _, more = watch.take() {
			}
		case <-time.After(20 * time.Millisecond): // what no watcher is told
		case <-deadline:
			w.t.Fatalf("waited too long for %s", what)
		}
	}
}

// Whatever is written over the manifest of a sandbox that runs, it is only
// disturbed by what is valid, and all is well when the good one is back.
func FuzzManifestWrittenOverARunningOne(f *testing.F) {
	good := sandbox("s0") + "---\n" + sandbox("t0")
	r := rand.New(rand.NewPCG(1, 0))
	for range 40 {
		_, mutant := mutate(r, []byte(good))
		f.Add(mutant)
	}
	f.Fuzz(func(t *testing.T, mutant []byte) {
		inWorld(t, func(t *testing.T, w *world) {
			w.write("f.yaml", good)
			path := filepath.Join(w.dir, "f.yaml")
			stands := lastGoodStands(map[string][]byte{path: []byte(good)}, map[string][]byte{path: mutant})
			if len(mutant) == 0 {
				clear(stands) // That an empty file is an error is the source's judgement.
			}
			boots := map[string]string{}
			for name := range stands {
				boots[name] = w.status(name).Runtime.BootID
			}
			w.write("f.yaml", string(mutant))
			after(time.Minute)
			w.write("f.yaml", good)
			after(10 * time.Minute)
			for _, name := range []string{"s0", "t0"} {
				w.wantPhase(name, manifests.PhaseRunning)
				w.wantCondition(name, manifests.ConditionSynced, "True", "", "")
				if boot, ok := boots[name]; ok && w.status(name).Runtime.BootID != boot {
					t.Errorf("%s was booted again", name)
				}
			}
		})
	})
}
