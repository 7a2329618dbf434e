package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/plugins"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// host is a daemon with a state directory and a folder of its own.
type host struct {
	o                  options
	dir, state, folder string
	cmd                *exec.Cmd
}

// sandbox is what the measurements need of a status.
type sandbox struct {
	plugin, hypervisor int
	machine, accel     string
	stages             []stage
}

type stage struct {
	name  string
	at    time.Time
	after time.Duration
}

func startHost(ctx context.Context, o options, dir string) (*host, error) {
	h := &host{o: o, dir: dir, state: filepath.Join(dir, "state"), folder: filepath.Join(dir, "manifests")}
	if err := os.MkdirAll(h.folder, 0o700); err != nil {
		return nil, err
	}
	if _, err := h.vzctl(ctx, "kernel", "install", "--deb", o.deb); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "daemon.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// Ends by close, not with ctx: it must take its VMs along.
	h.cmd = exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(o.bin, "vzreconciler"), //nolint:gosec // our own binary
		"--manifests", h.folder, "--state-dir", h.state, "--metrics-addr", "127.0.0.1:0", "--max-prune", "1000")
	h.cmd.Stderr = log
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, err := h.vzctl(ctx, "system", "status")
		if err == nil {
			return h, nil
		}
		if time.Now().After(deadline) {
			h.close()
			return nil, fmt.Errorf("the daemon does not answer: %w", err)
		}
	}
}

// close removes every sandbox, then ends the daemon. What a busy host did not
// remove in time would outlive the daemon: that is ended the hard way.
func (h *host) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	files, _ := filepath.Glob(filepath.Join(h.folder, "*.yaml"))
	for _, f := range files {
		_ = os.Remove(f)
	}
	_, _ = h.vzctl(ctx, "wait", "--for=delete", "sandbox", "--all", "--timeout=90s")
	_ = h.cmd.Process.Signal(os.Interrupt)
	_ = h.cmd.Wait()
	cctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	left, _ := filepath.Glob(filepath.Join(h.state, "sandboxes", "*", "*"))
	for _, dir := range left {
		if err := plugins.CleanUp(cctx, dir); err != nil {
			fmt.Fprintln(os.Stderr, "bench: left behind:", err)
		}
	}
}

func (h *host) vzctl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(h.o.bin, "vzctl"), args...) //nolint:gosec // our own binary
	cmd.Env = append(os.Environ(), "VZ_STATE_DIR="+h.state)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("vzctl %s: %w: %s", strings.Join(args, " "), err, exit.Stderr)
	}
	return string(out), err
}

// write puts a sandbox's manifest into the folder, whole.
func (h *host) write(name string) error {
	yaml := fmt.Sprintf(`apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata: {name: %s}
spec:
  podTemplate:
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: main, image: "docker-archive:%s", command: [sleep, infinity]}
  vm: {memory: 128Mi}
`, name, h.o.image)
	tmp := filepath.Join(h.dir, name+".yaml")
	if err := os.WriteFile(tmp, []byte(yaml), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(h.folder, name+".yaml"))
}

// up writes a sandbox and waits until it is Ready.
func (h *host) up(ctx context.Context, name string) (*sandbox, error) {
	if err := h.write(name); err != nil {
		return nil, err
	}
	return h.ready(ctx, name)
}

func (h *host) ready(ctx context.Context, name string) (*sandbox, error) {
	if _, err := h.vzctl(ctx, "wait", "--for=condition=Ready", "sandbox/"+name, "--timeout=180s"); err != nil {
		return nil, err
	}
	out, err := h.vzctl(ctx, "get", "sandbox", name, "-o", "json")
	if err != nil {
		return nil, err
	}
	var obj struct {
		Status struct {
			Runtime struct {
				PluginPID     int    `json:"pluginPID"`
				HypervisorPID int    `json:"hypervisorPID"`
				Machine       string `json:"machine"`
				Accelerator   string `json:"accelerator"`
				Stages        []struct {
					Name string    `json:"name"`
					Time time.Time `json:"time"`
				} `json:"stages"`
			} `json:"runtime"`
		} `json:"status"`
	}
	if err := json.Unmarshal([]byte(out), &obj); err != nil {
		return nil, err
	}
	r := obj.Status.Runtime
	s := &sandbox{plugin: r.PluginPID, hypervisor: r.HypervisorPID, machine: r.Machine, accel: r.Accelerator}
	for _, st := range r.Stages {
		s.stages = append(s.stages, stage{name: st.Name, at: st.Time})
	}
	return s, nil
}

// configuration is what the runtime of a sandbox was told.
func (h *host) configuration(name string) (*drivers.Configuration, error) {
	data, err := os.ReadFile(bundle.StateDir(h.state).Bundle("default", name).ConfigurationFile())
	if err != nil {
		return nil, err
	}
	config := &drivers.Configuration{}
	return config, json.Unmarshal(data, config)
}

func (h *host) down(ctx context.Context, name string) error {
	if err := os.Remove(filepath.Join(h.folder, name+".yaml")); err != nil {
		return err
	}
	_, err := h.vzctl(ctx, "wait", "--for=delete", "sandbox/"+name, "--timeout=60s")
	return err
}

// coldStart returns the time from the written file to the running process, and
// the stages in between.
func (h *host) coldStart(ctx context.Context, name string) (time.Duration, []stage, error) {
	start := time.Now()
	s, err := h.up(ctx, name)
	if err != nil {
		return 0, nil, err
	}
	var total time.Duration
	for i := range s.stages {
		s.stages[i].after = s.stages[i].at.Sub(start)
		if s.stages[i].name == "running" {
			total = s.stages[i].after
		}
	}
	if total <= 0 {
		return 0, nil, fmt.Errorf("%s: the status names no stage \"running\"", name)
	}
	return total, s.stages, h.down(ctx, name)
}
