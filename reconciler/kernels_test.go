package reconciler

import "testing"

func TestReplacedKernelsGoButNotThoseInUse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		var asked int
		w.kernels.mu.Lock()
		w.kernels.pruned = func(inUse func(string) bool) {
			asked++
			if !inUse("/kernels/1") || inUse("/kernels/0") {
				t.Errorf("in use: /kernels/1 %v, /kernels/0 %v", inUse("/kernels/1"), inUse("/kernels/0"))
			}
		}
		w.kernels.mu.Unlock()
		after(kernelsInterval)
		if asked != 1 {
			t.Fatalf("asked %d times, want once", asked)
		}
		w.kernels.mu.Lock()
		w.kernels.pruned = func(inUse func(string) bool) {
			if inUse("/kernels/1") {
				t.Error("in use by a sandbox that is gone")
			}
		}
		w.kernels.mu.Unlock()
		w.remove("web.yaml")
		after(kernelsInterval)
	})
}
