package e2e

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// chaosRounds is how many processes are killed.
const chaosRounds = 50

// TestChaos kills a daemon, a plugin process, a hypervisor or a guest with its
// agent, again and again and without warning, while three sandboxes are worked with. In the end all is as
// the manifests say, nothing has leaked, and no sandbox was restarted but those
// whose VM was hit.
func TestChaos(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("VZ_CHAOS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("VZ_CHAOS_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // not for secrets

	h := startHost(t)
	names := []string{"a", "b", "c"}
	yaml := map[string]string{}
	for _, name := range names {
		yaml[name] = crashable(name, counting)
		h.write(name+".yaml", yaml[name])
	}
	for _, name := range names {
		h.waitReady(name)
	}
	before := h.resources()
	hits := map[string]int{} // of a sandbox's VM
	for round := range chaosRounds {
		name := names[random.IntN(len(names))]
		worked := h.work(random.IntN(5), name, yaml, round)
		switch victim := random.IntN(10); {
		case victim == 0, round == chaosRounds/2:
			if h.crashGuest(name) {
				hits[name]++
			}
		case victim < 4:
			h.kill()
			h.start()
		case victim < 9:
			h.killOf(name, func(r *manifests.RuntimeStatus) int { return r.PluginPID })
		default:
			if h.killOf(name, func(r *manifests.RuntimeStatus) int { return r.HypervisorPID }) {
				hits[name]++
			}
		}
		<-worked
	}
	for _, name := range names {
		s := h.waitFor(name, "is Ready after it all", func(s *manifests.Sandbox) error {
			if status, reason, message := condition(s, manifests.ConditionReady); status != "True" {
				return fmt.Errorf("Ready=%s (%s: %s)", status, reason, message)
			}
			return nil
		})
		if n := int(s.Status.ContainerStatuses[0].RestartCount); n != hits[name] {
			t.Errorf("sandbox %s: %d restarts, its VM was killed %d times:\n%s", name, n, hits[name], h.vzctlOK("events", "sandbox/"+name))
		}
		h.wantRuns(name, hits[name]+1)
	}
	h.wantNoOrphans(names)
	h.eventually(soon, "nothing has leaked", func() error { return h.resources().within(before) })
}

// work does something with a sandbox, whatever comes of it; the channel is closed
// when it is done.
func (h *host) work(what int, name string, yaml map[string]string, round int) <-chan struct{} {
	if what == 0 {
		yaml[name] = strings.Replace(crashable(name, counting), "tier: one", fmt.Sprintf("tier: round%d", round), 1)
		h.write(name+".yaml", yaml[name])
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Second)
		defer cancel()
		args := [][]string{
			{"get", "sandboxes"},
			{"exec", name, "--", "sh", "-c", "head -c 300000 /dev/zero"},
			{"logs", name, "--tail=1000"},
			{"stats", name, "--no-stream"},
			{"exec", name, "--", "true"},
		}[what]
		_ = h.command(ctx, args...).Run()
	}()
	return done
}

// killOf kills a process of a sandbox, if it has one just now.
func (h *host) killOf(name string, pid func(*manifests.RuntimeStatus) int) bool {
	s, err := h.get(name)
	if err != nil || s.Status.Runtime == nil || s.Status.Phase != manifests.PhaseRunning {
		return false
	}
	p := pid(s.Status.Runtime)
	return p > 0 && syscall.Kill(p, syscall.SIGKILL) == nil
}

// crashable is a sandbox whose container can do what crashGuest asks of it.
func crashable(name, command string) string {
	return strings.Replace(sandboxYAML(name, command), "        command:",
		"        securityContext: {capabilities: {add: [SYS_ADMIN]}}\n        command:", 1)
}

// crashGuest ends the agent of a sandbox amid its work. It is PID 1 of the guest,
// which nothing there can kill: what can be is the kernel under it, by a container
// that may mount a /proc of its own. It reports whether that came about.
func (h *host) crashGuest(name string) bool {
	h.t.Helper()
	s, err := h.get(name)
	if err != nil || s.Status.Runtime == nil || s.Status.Phase != manifests.PhaseRunning {
		return false
	}
	id, err := procfs.Lookup(s.Status.Runtime.HypervisorPID)
	if err != nil {
		return false
	}
	_, errOut, _ := h.vzctl("exec", name, "--", "sh", "-c", "mkdir -p /p && mount -t proc proc /p && echo c > /p/sysrq-trigger")
	if strings.Contains(errOut, "invalid state") {
		return false // another has been hit just before
	}
	h.eventually(soon, "the machine of "+name+" ends with its kernel", func() error {
		if now, err := procfs.Lookup(id.PID); err == nil && now == id {
			return fmt.Errorf("it runs; vzctl exec said %q", errOut)
		}
		return nil
	})
	return true
}

// wantRuns checks that the log of a counting container is that of so many runs,
// each whole from its start.
func (h *host) wantRuns(name string, want int) {
	h.t.Helper()
	h.eventually(soon, "the last run of sandbox "+name+" speaks", func() error {
		runs := 0
		for _, word := range h.numbers(name) {
			if word == "1" {
				runs++
			}
		}
		if runs < want {
			return fmt.Errorf("the log has %d runs, want %d", runs, want)
		}
		return nil
	})
	runs, last := 0, 0
	for i, word := range h.numbers(name) {
		n, err := strconv.Atoi(word)
		if err != nil {
			h.t.Fatalf("sandbox %s: line %d of the log is %q", name, i+1, word)
		}
		switch {
		case n == 1:
			runs++
		case n != last+1:
			h.t.Errorf("sandbox %s: line %d of the log is %d after %d: output was lost or told twice", name, i+1, n, last)
		}
		last = n
	}
	if runs != want {
		h.t.Errorf("sandbox %s: the log has %d runs, want %d", name, runs, want)
	}
}

// wantNoOrphans checks that there are exactly the processes that the status of the
// sandboxes names.
func (h *host) wantNoOrphans(names []string) {
	h.t.Helper()
	h.eventually(soon, "no orphan is left", func() error {
		want := map[int]bool{}
		for _, name := range names {
			r := h.mustGet(name).Status.Runtime
			want[r.PluginPID], want[r.HypervisorPID] = true, true
		}
		for _, p := range h.processes() {
			if !want[p] {
				cmd, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p))
				return fmt.Errorf("process %d: %q", p, cmd)
			}
		}
		return nil
	})
}

// resources are what can leak.
type resources struct {
	goroutines, daemonFiles int
	// pluginFiles is the most that a plugin process has open.
	pluginFiles int
}

func (h *host) resources() resources {
	h.t.Helper()
	r := resources{goroutines: h.metric("go_goroutines"), daemonFiles: h.metric("process_open_fds")}
	for _, p := range h.processes() {
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p))
		cmd, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p))
		if err == nil && strings.HasPrefix(string(cmd), "runtime-") {
			r.pluginFiles = max(r.pluginFiles, len(files))
		}
	}
	return r
}

// within allows for what comes and goes with a scrape and a look at a file.
func (r resources) within(before resources) error {
	const slack = 8
	if r.goroutines > before.goroutines+slack || r.daemonFiles > before.daemonFiles+slack || r.pluginFiles > before.pluginFiles+slack {
		return fmt.Errorf("%+v, before %+v", r, before)
	}
	return nil
}

// metric returns the value of a metric without labels.
func (h *host) metric(name string) int {
	h.t.Helper()
	for s := bufio.NewScanner(strings.NewReader(h.scrape())); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				h.t.Fatal(err)
			}
			return int(f)
		}
	}
	h.t.Fatalf("there is no metric %s", name)
	return 0
}
