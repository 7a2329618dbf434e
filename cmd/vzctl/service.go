package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/service"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) serviceCmd() *cobra.Command {
	cmd := group("service", "Have the host keep the daemon running", `  vzctl service install --now
  vzctl service status`,
		a.serviceInstallCmd(), a.serviceUninstallCmd(), a.serviceStatusCmd(),
		a.serviceVerbCmd("start", "Start the daemon's service", "started", service.Manager.Start),
		a.serviceVerbCmd("stop", "Stop the daemon's service; sandboxes run on", "stopped; sandboxes run on", service.Manager.Stop),
		a.serviceVerbCmd("restart", "Restart the daemon's service; sandboxes run on", "restarted", service.Manager.Restart),
	)
	cmd.Long = `Have the host's service manager (systemd, launchd) keep the daemon running: from
login on as a service of the user, or with --system from boot on as one of the
system. Ending or restarting the service leaves sandboxes running.`
	return cmd
}

// serviceName is the daemon's name as a service.
const serviceName = "vzreconciler"

// serviceScope is whose service it is.
type serviceScope struct{ system bool }

func (s *serviceScope) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.system, "system", false, "a service of the system, from boot on, instead of the user's")
}

// manager returns the host's service manager.
func (s *serviceScope) manager() (service.Manager, error) {
	if runtime.GOOS == "darwin" {
		m := &service.Launchd{Label: "dev.vzreconciler." + serviceName, Dir: service.SystemJobDir, System: s.system, UID: os.Getuid()}
		if s.system {
			return m, nil
		}
		var err error
		m.Dir, err = service.UserJobDir()
		return m, err
	}
	m := &service.Systemd{Name: serviceName, Dir: service.SystemUnitDir, System: s.system}
	if s.system {
		return m, nil
	}
	var err error
	m.Dir, err = service.UserUnitDir()
	return m, err
}

// noOtherDaemon refuses to start a service beside a daemon that somebody started
// by hand: it would fail, over and over.
func (a *app) noOtherDaemon(ctx context.Context, s service.Status) error {
	if s.PID > 0 {
		return nil
	}
	client, err := a.dial(ctx)
	if err != nil {
		return nil //nolint:nilerr // there is none: so much the better
	}
	defer client.Close()
	status, err := client.Status(ctx, &api.StatusRequest{})
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	return fmt.Errorf("a daemon that is not this service runs already, as process %d: end it first (kill %d), sandboxes run on", status.GetPid(), status.GetPid())
}

func (a *app) serviceUninstallCmd() *cobra.Command {
	var scope serviceScope
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "End the daemon's service and forget it; sandboxes run on",
		Long: `Stop the daemon's service and remove its unit or property list. Sandboxes, their
state and their manifests stay as they are: remove the manifests first if the
sandboxes are to go.`,
		Example: `  vzctl service uninstall
  sudo vzctl service uninstall --system`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := scope.manager()
			if err != nil {
				return err
			}
			return a.serviceDo(cmd.Context(), scope, m, "uninstalled; sandboxes run on, and their state and manifests stay", service.Manager.Uninstall)
		},
	}
	scope.add(cmd)
	return cmd
}

func (a *app) serviceVerbCmd(verb, short, done string, do func(service.Manager, context.Context) error) *cobra.Command {
	var scope serviceScope
	cmd := &cobra.Command{
		Use:     verb,
		Short:   short,
		Example: "  vzctl service " + verb,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := scope.manager()
			if err != nil {
				return err
			}
			if verb != "stop" {
				before, err := m.Status(cmd.Context())
				if err != nil {
					return err
				}
				if err := a.noOtherDaemon(cmd.Context(), before); err != nil {
					return err
				}
			}
			return a.serviceDo(cmd.Context(), scope, m, done, do)
		},
	}
	scope.add(cmd)
	return cmd
}

// serviceDo does something to the service and says so.
func (a *app) serviceDo(ctx context.Context, scope serviceScope, m service.Manager, done string, do func(service.Manager, context.Context) error) error {
	if err := do(m, ctx); err != nil {
		if errors.Is(err, service.ErrNotInstalled) {
			return &codeError{err, exitNotFound}
		}
		return scope.explain(err)
	}
	if s, err := m.Status(ctx); err == nil && s.PID > 0 {
		done += ", process " + strconv.Itoa(s.PID)
	}
	return a.printf("service %s\n", done)
}

// explain says what is missing to change the system's services.
func (s *serviceScope) explain(err error) error {
	if s.system && os.Getuid() != 0 && errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: run this as root", err)
	}
	return err
}

func (a *app) serviceStatusCmd() *cobra.Command {
	var (
		scope serviceScope
		out   output
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether the daemon runs as a service",
		Long: `Show whether the daemon runs as a service. The exit code is 0 if it runs, 4 if it
does not, and 3 if it is not installed.`,
		Example: `  vzctl service status
  vzctl service status -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, err := out.format()
			if err != nil {
				return err
			}
			m, err := scope.manager()
			if err != nil {
				return err
			}
			s, err := m.Status(cmd.Context())
			if err != nil {
				return err
			}
			if format != nil {
				err = a.printThing(format, s)
			} else {
				err = a.printServiceStatus(m, s)
			}
			if err != nil {
				return err
			}
			switch s.State {
			case service.Running:
				return nil
			case service.NotInstalled:
				return exitError(exitNotFound)
			default:
				return exitError(exitUnreachable)
			}
		},
	}
	scope.add(cmd)
	a.addOutput(cmd, &out, "table")
	return cmd
}

func (a *app) printServiceStatus(m service.Manager, s service.Status) error {
	d := newDescription(time.Now())
	d.field(0, "State", string(s.State))
	if !s.Since.IsZero() {
		d.field(0, "Since", d.since(s.Since))
	}
	if s.PID > 0 {
		d.field(0, "PID", strconv.Itoa(s.PID))
	}
	d.field(0, "Message", s.Message)
	d.field(0, "Manager", s.Manager)
	if s.State != service.NotInstalled {
		byItself := "no"
		if s.AtLogin {
			byItself = "yes"
		}
		d.field(0, "Starts by itself", byItself)
		d.field(0, "File", s.File)
		d.field(0, "Log", s.LogFile)
		if systemd, ok := m.(*service.Systemd); ok {
			d.field(0, "Log", systemd.Journal())
		}
	}
	return d.writeTo(a.stdout)
}
