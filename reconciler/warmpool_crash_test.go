package reconciler

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// photographer is a log handler that keeps the state directory as it is whenever
// the daemon says something: as a daemon that was killed then would leave it.
type photographer struct {
	slog.Handler

	t      *testing.T
	state  bundle.StateDir
	mu     sync.Mutex
	on     bool
	photos []photo
}

type photo struct{ what, dir string }

func (p *photographer) Enabled(context.Context, slog.Level) bool { return true }

func (p *photographer) Handle(_ context.Context, r slog.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.on {
		return nil
	}
	dir := p.t.TempDir()
	// Files that other goroutines write meanwhile are there whole, or not at all.
	_ = os.CopyFS(dir, os.DirFS(string(p.state)))
	p.photos = append(p.photos, photo{r.Message, dir})
	return nil
}

// taken returns the photographs, and takes no more.
func (p *photographer) taken() []photo {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on = false
	return p.photos
}

// wantInOrder fails the test unless each claim has one sandbox of its own, the pool
// has as many as it wants, and there are no others.
func (w *world) wantInOrder(pool string, replicas int, claims ...string) {
	w.t.Helper()
	count := map[string]int{}
	for name, owner := range w.owners() {
		count[owner]++
		w.wantPhase(name, manifests.PhaseRunning)
	}
	want := map[string]int{}
	for _, c := range claims {
		want["SandboxClaim/"+c] = 1
		w.claimed(c)
	}
	if replicas > 0 {
		want["SandboxWarmPool/"+pool] = replicas
	}
	if !maps.Equal(count, want) {
		w.t.Fatalf("sandboxes of each owner %v, want %v", count, want)
	}
	on, err := filepath.Glob(filepath.Join(w.state.Sandboxes(), "*", "*", "object.json"))
	if err != nil || len(on) != len(w.owners()) {
		w.t.Errorf("%d records of sandboxes, want %d: %v", len(on), len(w.owners()), err)
	}
}

// A host that loses its power between any two steps of a claim finds it with one
// sandbox when it is back.
func TestClaimsSurviveACrashAnywhere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("pool.yaml", template("py", 1, "envVarsInjectionPolicy: Allowed")+"---\n"+warmPool("warm", "py", 2))
		after(time.Minute)
		w.stop()
		camera := &photographer{Handler: slog.DiscardHandler, t: t, state: w.state}
		w.log = slog.New(camera)
		w.start()
		after(time.Minute)
		camera.on = true
		names := []string{"ann", "bob", "cat", "dan"}
		for _, name := range names[:3] { // of which two find one
			w.files[name+".yaml"] = claim(name, "warm")
		}
		w.files["dan.yaml"] = claim("dan", "warm", "env: [{name: B, value: c}]")
		w.look()
		after(time.Minute)
		photos := camera.taken()
		w.wantInOrder("warm", 2, names...)
		if len(photos) < 20 {
			t.Errorf("%d photographs: are they taken?", len(photos))
		}
		w.log = slog.New(slog.DiscardHandler)
		for i, p := range photos {
			w.stop()
			w.runtimes.killAll()
			after(0)
			if err := os.RemoveAll(string(w.state)); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(string(w.state), os.DirFS(p.dir)); err != nil {
				t.Fatal(err)
			}
			w.start()
			after(10 * time.Minute)
			w.wantInOrder("warm", 2, names...)
			if t.Failed() {
				t.Fatalf("after photograph %d: %s", i, p.what)
			}
		}
	})
}

// Whatever is edited while daemons come and go, and whatever dies, every claim has
// one sandbox, and keeps it as long as nobody takes it away.
func TestPoolsAndClaimsConvergeWhateverHappens(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				w.runtimes.faults.BootDelay = duration(200 * time.Millisecond)
				w.maxPrune = 1000
				random := rand.New(rand.NewPCG(seed, 2))
				names := []string{"ann", "bob", "cat"}
				image, replicas, strategy := 1, 2, "OnReplenish"
				kept := map[string]string{} // the sandboxes that claims have
				var told []string
				for range 25 {
					name := names[random.IntN(len(names))]
					what := random.IntN(9)
					switch what {
					case 0:
						w.stop()
						w.start()
					case 1:
						all := slices.Sorted(maps.Keys(w.owners()))
						if len(all) > 0 {
							if p := w.runtimes.process(all[random.IntN(len(all))]); p != nil {
								p.Crash("killed")
							}
						}
					case 2:
						all := slices.Sorted(maps.Keys(w.owners()))
						if len(all) > 0 {
							gone := all[random.IntN(len(all))]
							_, _ = w.m.Delete(t.Context(), &api.DeleteRequest{Object: &api.Ref{Name: gone}})
							maps.DeleteFunc(kept, func(_, has string) bool { return has == gone })
						}
					case 3, 4, 5:
						w.files[name+".yaml"] = claim(name, "warm")
					case 6:
						delete(w.files, name+".yaml")
						delete(kept, name)
					case 7:
						delete(w.files, "pool.yaml")
					default:
						image, replicas = 1+random.IntN(3), random.IntN(4)
						strategy = []string{"OnReplenish", "Recreate"}[random.IntN(2)]
					}
					if what != 7 {
						w.files["pool.yaml"] = warmPool("warm", "py", replicas, "updateStrategy: {type: "+strategy+"}")
					}
					w.files["template.yaml"] = template("py", image)
					w.Resync()
					wait := time.Duration(random.IntN(3000)) * time.Millisecond
					told = append(told, fmt.Sprintf("%d of %s, %d × image %d %s, wait %s", what, name, replicas, image, strategy, wait))
					after(wait)
					for _, name := range names {
						v := w.m.lookup(workloadKey(manifests.KindSandboxClaim, name))
						if v == nil || w.files[name+".yaml"] == "" {
							continue
						}
						has := v.workload.(*manifests.SandboxClaimStatus).Sandbox.Name
						if was := kept[name]; was != "" && has != was {
							t.Errorf("%s has %q and had %q", name, has, was)
						} else if has != "" && v.deleted == nil && w.owners()[has] == "SandboxClaim/"+name && w.view(has).deleted == nil {
							kept[name] = has
						}
					}
				}
				after(time.Hour)
				var claims []string
				for _, name := range names {
					if w.files[name+".yaml"] != "" {
						claims = append(claims, name)
					}
				}
				w.write("pool.yaml", warmPool("warm", "py", 2, "updateStrategy: {type: Recreate}"))
				after(time.Hour)
				w.wantInOrder("warm", 2, claims...)
				for _, member := range w.members("SandboxWarmPool/warm") {
					if got := w.image(member); got != fmt.Sprintf("app:%d", image) {
						t.Errorf("%s has image %s, want app:%d", member, got, image)
					}
				}
				if t.Failed() {
					t.Logf("seed %d:\n%s", seed, strings.Join(told, "\n"))
				}
			})
		})
	}
}
