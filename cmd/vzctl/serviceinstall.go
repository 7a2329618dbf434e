package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/service"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// serviceInstall is what the daemon is to be as a service.
type serviceInstall struct {
	serviceScope
	manifests   []string
	metricsAddr string
	metricsSet  bool
	config      string
	env         []string
	runAs       string
	now         bool
}

func (a *app) serviceInstallCmd() *cobra.Command {
	var in serviceInstall
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Make the daemon a service of this host",
		Long: `Write the daemon's unit (systemd) or property list (launchd), and have it started
at login, or with --system at boot; --now starts it at once. Installing again
changes what differs. Flags not given here are the daemon's defaults, or those of
its configuration file: see vzreconciler --help.`,
		Example: `  vzctl service install --now
  vzctl service install --manifests ~/sandboxes --env HTTPS_PROXY=http://proxy:3128
  sudo vzctl service install --system --config /etc/vzreconciler.yaml --now`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in.metricsSet = cmd.Flags().Changed("metrics-addr")
			return a.serviceInstall(cmd.Context(), &in)
		},
	}
	in.add(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&in.manifests, "manifests", nil, "directories of manifests, with commas or repeated (default the daemon's)")
	f.StringVar(&in.metricsAddr, "metrics-addr", "", "address of the daemon's metrics; empty for none (default the daemon's)")
	f.StringVar(&in.config, "config", "", "configuration file of the daemon")
	f.StringArrayVarP(&in.env, "env", "e", nil, "NAME=VALUE for the daemon's environment, or NAME to pass on one's own; no place for secrets; may be repeated")
	f.StringVar(&in.runAs, "run-as", "", "with --system, user to run as (default who called sudo, else root)")
	f.BoolVar(&in.now, "now", false, "start it at once, with what changed")
	return cmd
}

func (a *app) serviceInstall(ctx context.Context, in *serviceInstall) error {
	s, err := a.daemonService(in)
	if err != nil {
		return err
	}
	m, err := in.manager()
	if err != nil {
		return err
	}
	before, err := m.Status(ctx)
	if err != nil {
		return err
	}
	if in.now {
		if err := a.noOtherDaemon(ctx, before); err != nil {
			return err
		}
	}
	change, err := m.Install(ctx, s)
	if err != nil {
		return in.explain(err)
	}
	after, err := m.Status(ctx)
	if err != nil {
		return err
	}
	if err := a.printf("service %s (%s)\n", change, after.File); err != nil {
		return err
	}
	if u, err := user.Current(); err == nil && !in.system && runtime.GOOS == "linux" && !service.Lingers(u.Username) {
		fmt.Fprintf(a.stderr, "Warning: it ends when you log out, and the sandboxes with it, unless you let it linger: loginctl enable-linger %s\n", u.Username)
	}
	switch {
	case in.now && change == service.Updated:
		return a.serviceDo(ctx, in.serviceScope, m, "restarted", service.Manager.Restart)
	case in.now && before.State != service.Running:
		return a.serviceDo(ctx, in.serviceScope, m, "started", service.Manager.Start)
	case change == service.Updated && before.State == service.Running:
		return a.printf("It runs as it was until: vzctl service restart\n")
	case before.State != service.Running:
		return a.printf("Start it with: vzctl service start\n")
	}
	return nil
}

// daemonService describes the daemon as a service.
func (a *app) daemonService(in *serviceInstall) (service.Service, error) {
	s := service.Service{
		Description:   "vzreconciler: sandboxes declared in YAML",
		Documentation: "https://github.com/vzreconciler/vzreconciler",
		Env:           map[string]string{},
	}
	var err error
	if s.Program, err = findDaemon(); err != nil {
		return s, err
	}
	if in.runAs != "" && !in.system {
		return s, usagef("--run-as is for services of the system: add --system")
	}
	if in.system {
		s.User = in.runAs
		if s.User == "" {
			s.User = a.getenv("SUDO_USER")
		}
		if s.User == "" {
			s.User = "root"
		}
		if _, err := user.Lookup(s.User); err != nil {
			return s, usagef("--run-as: %w", err)
		}
	}
	if s.Args, err = a.daemonArgs(in); err != nil {
		return s, err
	}
	if !in.system {
		// The daemon is to find the same directories as vzctl does from this shell.
		for _, name := range []string{bundle.StateDirEnv, "XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
			if value := a.getenv(name); filepath.IsAbs(value) {
				s.Env[name] = value
			}
		}
	}
	if runtime.GOOS == "darwin" {
		if err := a.forLaunchd(&s); err != nil {
			return s, err
		}
	}
	for _, e := range in.env {
		name, value, ok := strings.Cut(e, "=")
		if !ok {
			value = a.getenv(name)
		}
		s.Env[name] = value
	}
	return s, nil
}

// forLaunchd adds what launchd gives no service by itself: a log, and the places
// where QEMU may be.
func (a *app) forLaunchd(s *service.Service) error {
	dir, err := a.state()
	if err != nil {
		return err
	}
	if err := state.MkdirAll(string(dir)); err != nil {
		return err
	}
	s.LogFile = dir.DaemonLog()
	s.Env["PATH"] = "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
	return nil
}

// daemonArgs returns the daemon's command line.
func (a *app) daemonArgs(in *serviceInstall) ([]string, error) {
	var args []string
	if in.config != "" {
		path, err := filepath.Abs(in.config)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("--config: %w", err)
		}
		args = append(args, "--config="+path)
	}
	if a.stateDir != "" {
		dir, err := a.state()
		if err != nil {
			return nil, err
		}
		args = append(args, "--state-dir="+string(dir))
	}
	for _, dir := range in.manifests {
		if dir == "" {
			return nil, usagef("--manifests: the name of a directory is empty")
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		args = append(args, "--manifests="+abs)
	}
	if in.metricsSet {
		args = append(args, "--metrics-addr="+in.metricsAddr)
	}
	return args, nil
}

// findDaemon finds the daemon's program: beside this one, else in the PATH.
func findDaemon() (string, error) {
	if exe, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(exe), serviceName)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	path, err := exec.LookPath(serviceName)
	if err != nil {
		return "", fmt.Errorf("find the daemon's program, beside vzctl or in the PATH: %w", err)
	}
	return filepath.Abs(path)
}
