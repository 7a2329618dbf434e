package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/internal/installed"
	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/plugins"
	"github.com/vzreconciler/vzreconciler/plugins/conformance"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// pluginTest is what `vzctl plugin test` is told.
type pluginTest struct {
	image, kernel string
	junit         string
	only          string
	parallel      int
	timeout       time.Duration
	runtimeData   string
}

func (a *app) pluginTestCmd(dirs *pluginDirs) *cobra.Command {
	var (
		out output
		t   pluginTest
	)
	cmd := &cobra.Command{
		Use:   "test NAME",
		Short: "Hold a runtime plugin against the whole runtime contract",
		Long: `Hold a runtime plugin against the whole runtime contract: each check starts the
plugin's own process on a sandbox of its own. Checks of what the plugin does not
claim to be capable of are skipped. The exit code is 1 if a check fails.

A runtime of VMs needs a kernel that is installed (vzctl kernel install) and an
image with a shell, as --image; busybox is enough.`,
		Example: `  vzctl plugin test qemu --image docker.io/library/busybox
  vzctl plugin test process --parallel 4
  vzctl plugin test qemu --image docker-archive:examples/image/busybox.tar --run '^Exec' --junit report.xml`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlugin(dirs, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := out.format()
			if err != nil {
				return err
			}
			only, err := regexp.Compile(t.only)
			if err != nil {
				return usagef("--run: %v", err)
			}
			l, err := a.loader(*dirs)
			if err != nil {
				return err
			}
			p, err := l.Find(plugins.KindRuntime, args[0])
			if err != nil {
				return err
			}
			launcher, sockets, done, err := launcher()
			if err != nil {
				return err
			}
			defer done()
			config, err := a.testConfiguration(cmd.Context(), p, &t, sockets)
			if err != nil {
				return err
			}
			if _, err := launcher.Probe(cmd.Context(), p); err != nil {
				return err
			}
			progress := a.stderr
			if format == nil {
				progress = a.stdout
			}
			report := &conformance.Report{Subject: p.Name + " " + p.Version}
			runChecks(cmd.Context(), report, conformance.PluginOptions{Plugin: p, Launcher: launcher, Configuration: config}, &t, only, progress)
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			return a.writeReport(report, &t, out, p)
		},
	}
	f := cmd.Flags()
	f.StringVar(&t.image, "image", "", "image that the sandboxes run: it needs a shell, cat, sleep, stty and pwd")
	f.StringVar(&t.kernel, "kernel", "", "name of an installed kernel (default the default one)")
	f.StringVar(&t.junit, "junit", "", "file to write a JUnit report to")
	f.StringVar(&t.only, "run", "", "regular expression of the names of checks to run")
	f.IntVar(&t.parallel, "parallel", 1, "how many checks run at once")
	f.DurationVar(&t.timeout, "timeout", 2*time.Minute, "how long one check may take")
	f.StringVar(&t.runtimeData, "runtime-data", "", "runtimeData of the sandboxes, as JSON")
	a.addOutput(cmd, &out, "text")
	return cmd
}

// testConfiguration returns what the sandboxes are made from: as much as the
// plugin needs.
func (a *app) testConfiguration(ctx context.Context, p *plugins.Plugin, t *pluginTest, sockets string) (drivers.Configuration, error) {
	state, err := a.state()
	if err != nil {
		return drivers.Configuration{}, err
	}
	cfg := drivers.Configuration{
		Hostname: "conformance", CPUs: 1, MemoryBytes: 128 << 20, DiskBytes: 1 << 30,
		CacheDir: state.CacheDir(), SocketDir: sockets,
		Containers: []drivers.Container{{Name: "main"}},
	}
	if t.runtimeData != "" {
		cfg.RuntimeData = []byte(t.runtimeData)
	}
	if p.Wants(plugins.NeedKernel) {
		if err := a.testKernel(&cfg, t.kernel); err != nil {
			return cfg, err
		}
	}
	switch {
	case p.Wants(plugins.NeedImage) && t.image == "":
		return cfg, usagef("%s runs images: give it one with --image, as --image docker.io/library/busybox", p)
	case !p.Wants(plugins.NeedImage) && t.image != "" && t.image != bundle.ScratchImage:
		return cfg, usagef("%s runs no images: leave --image out", p)
	case p.Wants(plugins.NeedImage):
		store, err := images.Open(state.Images(), images.Options{})
		if err != nil {
			return cfg, err
		}
		image, err := store.Ensure(ctx, t.image, images.EnsureOptions{})
		if err != nil {
			return cfg, err
		}
		cfg.Containers[0].Rootfs = image.Rootfs
	}
	return cfg, nil
}

func (a *app) testKernel(cfg *drivers.Configuration, name string) error {
	store, err := a.kernels()
	if err != nil {
		return err
	}
	k, err := store.Get(name)
	if err != nil {
		return err
	}
	program, err := installed.Dir()
	if err != nil {
		return err
	}
	cfg.Kernel = drivers.Kernel{Image: k.Image, VMLinux: k.VMLinux, ModulesDir: k.ModulesDir}
	if cfg.Agent = installed.Agents(program)[runtime.GOARCH]; cfg.Agent == "" {
		return fmt.Errorf("the guest agent for %s is not installed beside vzctl: run \"make build\" or install again", runtime.GOARCH)
	}
	return nil
}

// runChecks runs the suite and shows each result as it comes.
func runChecks(ctx context.Context, report *conformance.Report, p conformance.PluginOptions, t *pluginTest, only *regexp.Regexp, progress io.Writer) {
	opts := conformance.OfPlugin(p)
	opts.Timeout = t.timeout
	report.Done = func(r conformance.Result) {
		fmt.Fprintln(progress, printer.Sanitize(r.Line()))
		if r.Status != conformance.Failed {
			return
		}
		for _, line := range r.Output {
			fmt.Fprintln(progress, "        "+printer.Sanitize(oneLine(line)))
		}
	}
	runner := conformance.NewRunner(ctx, t.parallel)
	run := report.Record(runner.Run)
	opts.Run = func(name string, check func(conformance.T)) {
		if ctx.Err() == nil && only.MatchString(name) {
			run(name, check)
		}
	}
	conformance.Run(opts)
	runner.Wait()
}

// testedPlugin is a report for programs.
type testedPlugin struct {
	Name    string               `json:"name"`
	Version string               `json:"version"`
	Passed  int                  `json:"passed"`
	Failed  int                  `json:"failed"`
	Skipped int                  `json:"skipped"`
	Seconds float64              `json:"seconds"`
	Checks  []conformance.Result `json:"checks"`
}

func (a *app) writeReport(report *conformance.Report, t *pluginTest, out output, p *plugins.Plugin) error {
	if len(report.Results()) == 0 {
		return usagef("--run %q: no check has such a name", t.only)
	}
	if t.junit != "" {
		f, err := os.Create(t.junit)
		if err != nil {
			return err
		}
		if err := errors.Join(report.WriteJUnit(f), f.Close()); err != nil {
			return fmt.Errorf("write %s: %w", t.junit, err)
		}
	}
	format, err := out.format()
	if err != nil {
		return err
	}
	if format != nil {
		tested := testedPlugin{
			Name: p.Name, Version: p.Version, Checks: report.Results(),
			Passed: report.Count(conformance.Passed), Failed: report.Count(conformance.Failed), Skipped: report.Count(conformance.Skipped),
		}
		for _, r := range tested.Checks {
			tested.Seconds += r.Seconds
		}
		err = a.printThing(format, tested)
	} else {
		err = a.printf("\n%s\n", report.Summary())
	}
	if err == nil && report.Count(conformance.Failed) > 0 {
		return exitError(exitFailed)
	}
	return err
}
