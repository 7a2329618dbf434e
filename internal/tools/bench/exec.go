package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/drivers/qemu"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// execRuns is how often each way to run a process is measured.
const execRuns = 31

// execs compares `vzctl exec NAME -- true` with the same on the agent's channel in
// this process, and shows what each floor between the two adds.
func execs(ctx context.Context, o options, h *host, out io.Writer) error {
	if _, err := h.up(ctx, "exec"); err != nil {
		return err
	}
	bare, err := bareAgent(ctx, h)
	if err != nil {
		return fmt.Errorf("a machine of our own: %w", err)
	}
	defer bare.end()
	client, err := api.Dial(ctx, bundle.StateDir(h.state).ControlSocket())
	if err != nil {
		return err
	}
	defer client.Close()
	start := &api.ExecStart{Object: &api.Ref{Kind: "Sandbox", Namespace: "default", Name: "exec"}, Args: []string{"true"}}
	ways := []struct {
		name string
		run  func() error
	}{
		{"the agent's channel, in one process", func() error {
			return wantZero(bare.rt.Exec(ctx, "main", drivers.ProcessSpec{Args: []string{"true"}, Env: bare.env}, drivers.Stdio{}))
		}},
		{"through plugin and daemon, connected already", func() error {
			return wantZero(client.Exec(ctx, start, drivers.Stdio{}))
		}},
		{"vzctl exec NAME -- true", func() error {
			_, err := h.vzctl(ctx, "exec", "exec", "--", "true")
			return err
		}},
		{"of that, a process of vzctl that does nothing", func() error {
			_, err := h.vzctl(ctx, "--version")
			return err
		}},
	}
	times := make([][]time.Duration, len(ways))
	for i := range execRuns + 1 { // the first of each warms up
		for j, way := range ways {
			began := time.Now()
			if err := way.run(); err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
			if i > 0 {
				times[j] = append(times[j], time.Since(began))
			}
		}
	}
	fmt.Fprintf(out, "A process that does nothing, in an idle sandbox, %d runs of each, alternating\n", execRuns)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tmedian\tmin\tmax\t")
	for j, way := range ways {
		row(w, way.name, times[j])
	}
	fmt.Fprintf(w, "vzctl exec : the agent's channel\t%.2f\t\t\t\n", median(times[2]).Seconds()/median(times[0]).Seconds())
	took, err := manyExecs(ctx, h)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d of vzctl exec at once\t%s\t\t\t\n", manyAtOnce, ms(took))
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return h.down(ctx, "exec")
}

func wantZero(exit drivers.ExitStatus, err error) error {
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("exit code %d", exit.Code)
	}
	return err
}

const manyAtOnce = 100

// manyExecs runs many at once, all of which must succeed.
func manyExecs(ctx context.Context, h *host) (time.Duration, error) {
	began := time.Now()
	ends := make(chan error, manyAtOnce)
	var running sync.WaitGroup
	for range manyAtOnce {
		running.Go(func() {
			_, err := h.vzctl(ctx, "exec", "exec", "--", "true")
			ends <- err
		})
	}
	running.Wait()
	close(ends)
	for err := range ends {
		if err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// agentVM is a machine like that of the sandbox "exec", run by this process.
type agentVM struct {
	rt  drivers.Runtime
	env []drivers.EnvVar
	dir string
}

func bareAgent(ctx context.Context, h *host) (*agentVM, error) {
	config, err := h.configuration("exec")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/tmp", "vzb") // short, for sockets
	if err != nil {
		return nil, err
	}
	vm := &agentVM{rt: linuxvm.New(qemu.New(qemu.Options{}), linuxvm.Options{}), dir: dir, env: config.Containers[0].Process.Env}
	config.ID, config.SocketDir = "default/bare", dir
	if err := state.WriteJSON(filepath.Join(dir, drivers.ConfigurationFile), config); err != nil {
		vm.end()
		return nil, err
	}
	if err := vm.rt.Bootstrap(ctx, drivers.BootstrapRequest{Bundle: dir}); err != nil {
		vm.end()
		return nil, err
	}
	if err := vm.rt.StartProcess(ctx, config.Containers[0].Name); err != nil {
		vm.end()
		return nil, err
	}
	return vm, nil
}

func (vm *agentVM) end() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = vm.rt.Stop(ctx, drivers.StopOptions{GracePeriod: time.Second})
	_ = vm.rt.Shutdown(ctx)
	_ = os.RemoveAll(vm.dir)
}
