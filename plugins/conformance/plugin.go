package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/plugins"
)

// PluginOptions say how to test an installed plugin.
type PluginOptions struct {
	Plugin   *plugins.Plugin
	Launcher *plugins.Launcher
	// Configuration is what each sandbox is made from, with one container.
	Configuration drivers.Configuration
}

// OfPlugin returns Options for a plugin: each sandbox is a process of its own, in
// a bundle of its own that is removed with the check.
func OfPlugin(p PluginOptions) Options {
	container := drivers.Container{Name: "main"}
	if len(p.Configuration.Containers) > 0 {
		container = p.Configuration.Containers[0]
	}
	return Options{
		Container: container.Name,
		New: func(t T, init drivers.ProcessSpec) Sandbox {
			t.Helper()
			bundle, err := os.MkdirTemp("", "vzconformance-")
			if err != nil {
				t.Fatalf("make a bundle: %v", err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(bundle) })
			config, c := p.Configuration, container
			config.Version = drivers.ConfigurationVersion
			config.ID = "conformance/" + filepath.Base(bundle)
			c.Process = init
			config.Containers = []drivers.Container{c}
			if err := state.WriteJSON(filepath.Join(bundle, drivers.ConfigurationFile), config); err != nil {
				t.Fatalf("write the configuration: %v", err)
			}
			inst, err := p.Launcher.Launch(t.Context(), p.Plugin, bundle)
			if err != nil {
				t.Fatalf("%v", err)
			}
			t.Cleanup(func() {
				if err := inst.End(context.WithoutCancel(t.Context())); err != nil {
					t.Errorf("%v", err)
				}
			})
			return Sandbox{
				Runtime: inst,
				Request: drivers.BootstrapRequest{Bundle: bundle},
				Kill: func() error {
					// What the process drives may outlive it: its end is the launcher's.
					if snap, err := inst.State(t.Context()); err == nil && snap.Machine != nil {
						machine := procfs.ID{PID: snap.Machine.PID, StartTime: snap.Machine.StartTime}
						t.Cleanup(func() {
							if err := plugins.CleanUp(context.WithoutCancel(t.Context()), bundle, machine); err != nil {
								t.Errorf("%v", err)
							}
						})
					}
					if err := syscall.Kill(inst.PID(), syscall.SIGKILL); err != nil {
						return fmt.Errorf("kill the plugin process: %w", err)
					}
					return nil
				},
				Reconnect: func(ctx context.Context) (drivers.Runtime, error) {
					inst.Release()
					again, err := p.Launcher.Reattach(ctx, bundle)
					if err != nil {
						return nil, err
					}
					t.Cleanup(again.Release)
					return again, nil
				},
			}
		},
	}
}
