package fake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/fake"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// newBundle returns a request for a sandbox whose containers run the commands.
func newBundle(t *testing.T, runtimeData string, commands ...string) drivers.BootstrapRequest {
	t.Helper()
	config := drivers.Configuration{Version: drivers.ConfigurationVersion, ID: "default/test"}
	if runtimeData != "" {
		config.RuntimeData = json.RawMessage(runtimeData)
	}
	for i, c := range commands {
		config.Containers = append(config.Containers, drivers.Container{
			Name:    fmt.Sprintf("c%d", i),
			Process: drivers.ProcessSpec{Args: strings.Fields(c)},
		})
	}
	dir := t.TempDir()
	if err := state.WriteJSON(filepath.Join(dir, drivers.ConfigurationFile), config); err != nil {
		t.Fatal(err)
	}
	return drivers.BootstrapRequest{Bundle: dir}
}

// running returns a sandbox with faults whose containers run.
func running(t *testing.T, faults fake.Faults, commands ...string) *fake.Runtime {
	t.Helper()
	rt := fake.New(fake.Options{Faults: faults, DiscardLogs: true})
	if err := rt.Bootstrap(t.Context(), newBundle(t, "", commands...)); err != nil {
		t.Fatal(err)
	}
	for i := range commands {
		if err := rt.StartProcess(t.Context(), fmt.Sprintf("c%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	return rt
}

func stateOf(t *testing.T, rt drivers.Runtime) drivers.Snapshot {
	t.Helper()
	snap, err := rt.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func TestThousandsOfSandboxesLiveInABubble(t *testing.T) {
	req := newBundle(t, `{"bootDelay": "2s", "exitAfter": "1h", "exitCode": 3}`, "server")
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var wg sync.WaitGroup
		for range 2000 {
			wg.Go(func() {
				rt := fake.New(fake.Options{DiscardLogs: true})
				if err := errors.Join(rt.Bootstrap(t.Context(), req), rt.StartProcess(t.Context(), "c0")); err != nil {
					t.Error(err)
				}
				if exit, err := rt.Wait(t.Context(), "c0"); err != nil || exit.Code != 3 {
					t.Errorf("exit %+v, %v", exit, err)
				}
				if err := errors.Join(rt.Stop(t.Context(), drivers.StopOptions{}), rt.Shutdown(t.Context())); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(begin); took != time.Hour+2*time.Second {
			t.Errorf("that took %s of virtual time", took)
		}
	})
}

func TestBootstrapFailsOnDemand(t *testing.T) {
	for _, tt := range []struct {
		name, runtimeData, want string
		kind                    error
	}{
		{"an error", `{"bootDelay": "1s", "bootError": "no agent"}`, "no agent", nil},
		{"a hang", `{"bootHang": true}`, "", context.DeadlineExceeded},
		{"a slow boot", `{"bootDelay": "1h"}`, "", context.DeadlineExceeded},
		{"an unknown fault", `{"explode": true}`, "explode", drivers.ErrInvalidArgument},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := newBundle(t, tt.runtimeData, "server")
			synctest.Test(t, func(t *testing.T) {
				rt := fake.New(fake.Options{})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := rt.Bootstrap(ctx, req)
				if err == nil || !strings.Contains(err.Error(), tt.want) || (tt.kind != nil && !errors.Is(err, tt.kind)) {
					t.Errorf("got %v", err)
				}
				if snap := stateOf(t, rt); snap.State != drivers.StateStopped || snap.Reason == "" {
					t.Errorf("after it: %+v", snap)
				}
			})
		})
	}
}

func TestBadConfigurationIsRefused(t *testing.T) {
	for name, content := range map[string]string{
		"no JSON":            `{`,
		"another version":    `{"version": 2, "containers": [{"name": "a", "process": {"args": ["x"]}}]}`,
		"no container":       `{"version": 1}`,
		"one name twice":     `{"version": 1, "containers": [{"name": "a", "process": {"args": ["x"]}}, {"name": "a", "process": {"args": ["x"]}}]}`,
		"no command":         `{"version": 1, "containers": [{"name": "a"}]}`,
		"secret that is not": `{"version": 1, "containers": [{"name": "a", "process": {"args": ["x"], "env": [{"name": "A", "secret": "s"}]}}]}`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, drivers.ConfigurationFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		rt := fake.New(fake.Options{})
		if err := rt.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: dir}); !errors.Is(err, drivers.ErrInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestShutdownCancelsABoot(t *testing.T) {
	req := newBundle(t, `{"bootHang": true}`, "server")
	synctest.Test(t, func(t *testing.T) {
		rt := fake.New(fake.Options{})
		booted := make(chan error, 1)
		go func() { booted <- rt.Bootstrap(t.Context(), req) }()
		synctest.Wait()
		if err := rt.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-booted; !errors.Is(err, context.Canceled) {
			t.Errorf("bootstrap: %v", err)
		}
		if snap := stateOf(t, rt); snap.State != drivers.StateShuttingDown {
			t.Errorf("state %s", snap.State)
		}
	})
}

func TestCrashEndsEverythingWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := running(t, fake.Faults{CrashAfter: fake.Duration(time.Minute)}, "server", "server")
		begin := time.Now()
		for _, id := range []string{"c0", "c1"} {
			if exit, err := rt.Wait(t.Context(), id); err != nil || exit.Code != 137 {
				t.Errorf("%s: %+v, %v", id, exit, err)
			}
		}
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("it crashed after %s", took)
		}
		if snap := stateOf(t, rt); snap.State != drivers.StateStopped || !strings.Contains(snap.Reason, "killed") || snap.Machine != nil {
			t.Errorf("after it: %+v", snap)
		}
		rt.Crash("again")
		if snap := stateOf(t, rt); snap.Reason == "again" {
			t.Error("a stopped machine crashed")
		}
	})
}

func TestStopWaitsForEveryContainerAndNoLonger(t *testing.T) {
	for _, tt := range []struct {
		name   string
		faults fake.Faults
		code   int
		took   time.Duration
	}{
		{"they end at once", fake.Faults{}, 143, 0},
		{"they do not", fake.Faults{IgnoreSignals: true}, 137, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := running(t, tt.faults, "server", "server")
				begin := time.Now()
				if err := rt.Stop(t.Context(), drivers.StopOptions{GracePeriod: 30 * time.Second}); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took != tt.took {
					t.Errorf("it took %s, want %s", took, tt.took)
				}
				for _, p := range stateOf(t, rt).Processes {
					if p.Exit == nil || p.Exit.Code != tt.code {
						t.Errorf("%s: %+v, want code %d", p.ID, p.Exit, tt.code)
					}
				}
			})
		})
	}
}

func TestUnresponsiveSandboxAnswersNobody(t *testing.T) {
	req := newBundle(t, `{"unresponsive": true}`, "server")
	synctest.Test(t, func(t *testing.T) {
		rt := fake.New(fake.Options{})
		if err := rt.Bootstrap(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := rt.State(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("state: %v", err)
		}
	})
}

func TestATestPlaysFate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := running(t, fake.Faults{}, "server")
		want := drivers.ExitStatus{Code: 137, Signal: 9, OOMKilled: true}
		if err := rt.ExitProcess("c0", want); err != nil {
			t.Fatal(err)
		}
		exit, err := rt.Wait(t.Context(), "c0")
		if err != nil || !exit.OOMKilled || exit.Code != want.Code || exit.FinishedAt.IsZero() {
			t.Errorf("exit %+v, %v", exit, err)
		}
		if err := rt.ExitProcess("nobody", want); !errors.Is(err, drivers.ErrNotFound) {
			t.Errorf("exit of nobody: %v", err)
		}
		if err := rt.Stop(t.Context(), drivers.StopOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func TestStartFailsOnDemand(t *testing.T) {
	rt := fake.New(fake.Options{Faults: fake.Faults{StartError: "no such user"}})
	if err := rt.Bootstrap(t.Context(), newBundle(t, "", "server")); err != nil {
		t.Fatal(err)
	}
	if err := rt.StartProcess(t.Context(), "c0"); err == nil || !strings.Contains(err.Error(), "no such user") {
		t.Errorf("got %v", err)
	}
	if snap := stateOf(t, rt); snap.State != drivers.StateBooted {
		t.Errorf("state %s", snap.State)
	}
}

func TestSecretsReachTheProcessAndNoFile(t *testing.T) {
	dir := t.TempDir()
	err := state.WriteJSON(filepath.Join(dir, drivers.ConfigurationFile), drivers.Configuration{
		Version: drivers.ConfigurationVersion,
		Containers: []drivers.Container{{Name: "c0", Process: drivers.ProcessSpec{
			Args: []string{"server"},
			Env:  []drivers.EnvVar{{Name: "TOKEN", Secret: "token"}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	rt := fake.New(fake.Options{})
	req := drivers.BootstrapRequest{Bundle: dir, Secrets: map[string][]byte{"token": []byte("hunter2")}}
	if err := errors.Join(rt.Bootstrap(t.Context(), req), rt.StartProcess(t.Context(), "c0")); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	_, err = rt.Exec(t.Context(), "c0", drivers.ProcessSpec{
		Args: []string{"printenv", "TOKEN"},
		Env:  []drivers.EnvVar{{Name: "TOKEN", Secret: "token"}},
	}, drivers.Stdio{Stdout: &out})
	if err != nil || out.String() != "hunter2\n" {
		t.Errorf("printenv: %q, %v", &out, err)
	}
	if err := rt.Stop(t.Context(), drivers.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "hunter2") {
			t.Errorf("the secret is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSchemaKnowsEveryFault(t *testing.T) {
	info, err := fake.New(fake.Options{}).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	schemaDoc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(info.RuntimeDataSchema)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("faults.json", schemaDoc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("faults.json")
	if err != nil {
		t.Fatal(err)
	}
	every, err := json.Marshal(fake.Faults{
		ProbeError: "x", BootDelay: 1, BootError: "x", BootHang: true, StartError: "x", ExitAfter: 1, ExitCode: 1,
		IgnoreSignals: true, CrashAfter: 1, Unresponsive: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for doc, good := range map[string]bool{string(every): true, `{}`: true, `{"explode": true}`: false, `{"exitCode": 256}`: false} {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(doc))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != good {
			t.Errorf("%s: %v", doc, err)
		}
	}
}
