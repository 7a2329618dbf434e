package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Systemd keeps a service by systemd.
type Systemd struct {
	// Name is the unit's, without ".service".
	Name string
	// Dir is where units lie: SystemUnitDir, or the user's.
	Dir string
	// System means the system's manager instead of the user's.
	System bool
}

// SystemUnitDir is where an administrator's units lie.
const SystemUnitDir = "/etc/systemd/system"

// UserUnitDir returns where a user's units lie.
func UserUnitDir() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the user's units: %w", err)
	}
	return filepath.Join(dir, "systemd", "user"), nil
}

func (m *Systemd) unitName() string { return m.Name + ".service" }
func (m *Systemd) file() string     { return filepath.Join(m.Dir, m.unitName()) }

// Install implements Manager.
func (m *Systemd) Install(ctx context.Context, s Service) (Change, error) {
	if err := s.validate(); err != nil {
		return "", err
	}
	// Before anything is written: is there a systemd to read it?
	if _, err := m.call(ctx, "show", "--property=Version"); err != nil {
		return "", err
	}
	change, err := put(m.file(), []byte(unit(m.Name, &s, m.System)), m.System)
	if err != nil {
		return "", err
	}
	if change != Unchanged {
		if _, err := m.call(ctx, "daemon-reload"); err != nil {
			return "", err
		}
	}
	_, err = m.call(ctx, "enable", m.unitName())
	return change, err
}

// Uninstall implements Manager.
func (m *Systemd) Uninstall(ctx context.Context) error {
	if err := need(m.file()); err != nil {
		return err
	}
	if _, err := m.call(ctx, "disable", "--now", m.unitName()); err != nil {
		return err
	}
	if err := os.Remove(m.file()); err != nil {
		return fmt.Errorf("uninstall the service: %w", err)
	}
	if _, err := m.call(ctx, "daemon-reload"); err != nil {
		return err
	}
	// A failure that is on record would outlive the unit. Without one it is an
	// error to forget it.
	_, _ = m.call(ctx, "reset-failed", m.unitName())
	return nil
}

// Start implements Manager. It returns when the service is ready.
func (m *Systemd) Start(ctx context.Context) error { return m.do(ctx, "start") }

// Stop implements Manager.
func (m *Systemd) Stop(ctx context.Context) error { return m.do(ctx, "stop") }

// Restart implements Manager.
func (m *Systemd) Restart(ctx context.Context) error { return m.do(ctx, "restart") }

func (m *Systemd) do(ctx context.Context, verb string) error {
	if err := need(m.file()); err != nil {
		return err
	}
	_, err := m.call(ctx, verb, m.unitName())
	if err != nil && verb != "stop" {
		return fmt.Errorf("%w\nwhat it said: %s", err, m.Journal())
	}
	return err
}

// Journal returns the command that shows the service's log.
func (m *Systemd) Journal() string {
	if m.System {
		return "journalctl -u " + m.Name
	}
	return "journalctl --user -u " + m.Name
}

// Status implements Manager.
func (m *Systemd) Status(ctx context.Context) (Status, error) {
	out, err := m.call(ctx, "show", m.unitName(),
		"--property=LoadState,ActiveState,SubState,Result,MainPID,ExecMainStatus,UnitFileState,StateChangeTimestamp,FragmentPath,NRestarts")
	if err != nil {
		return Status{}, err
	}
	s := parseShow(out)
	s.Manager = "systemd, user"
	if m.System {
		s.Manager = "systemd, system"
	}
	return s, nil
}

// parseShow reads what systemctl show prints of a unit.
func parseShow(out string) Status {
	p := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			p[name] = value
		}
	}
	if p["LoadState"] == "not-found" || p["LoadState"] == "" {
		return Status{State: NotInstalled}
	}
	s := Status{State: Stopped, File: p["FragmentPath"], AtLogin: p["UnitFileState"] == "enabled"}
	switch p["ActiveState"] {
	case "active", "reloading", "refreshing":
		s.State = Running
	case "activating":
		s.State = Starting
	case "deactivating":
		s.State = Stopping
	case "failed":
		s.State = Failed
	}
	if pid, err := strconv.Atoi(p["MainPID"]); err == nil && pid > 0 {
		s.PID = pid
	}
	if since, err := time.Parse("Mon 2006-01-02 15:04:05 MST", p["StateChangeTimestamp"]); err == nil {
		s.Since = since
	}
	if result := p["Result"]; result != "success" && result != "" {
		s.Message = "it ended by " + result
		if status := p["ExecMainStatus"]; result == "exit-code" && status != "" {
			s.Message = "it ended with exit code " + status
		}
		if n := p["NRestarts"]; n != "0" && n != "" {
			s.Message += ", and was restarted " + n + " times"
		}
	}
	if p["LoadState"] == "bad-setting" || p["LoadState"] == "error" {
		s.Message = "systemd cannot read the unit: install it again"
	}
	return s
}

// noManager is what systemctl says when there is no systemd to talk to.
var noManager = regexp.MustCompile(`connect to .*bus|not been booted with systemd`)

// call runs systemctl.
func (m *Systemd) call(ctx context.Context, args ...string) (string, error) {
	if !m.System {
		args = append([]string{"--user"}, args...)
	}
	out, err := run(ctx, "systemctl", args...)
	if err == nil {
		return out, nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("there is no systemd on this host (no systemctl): run vzreconciler yourself, or under the service manager that there is")
	}
	if failed, ok := errors.AsType[*commandError](err); ok {
		switch {
		case !noManager.MatchString(failed.Stderr):
		case m.System:
			return "", fmt.Errorf("%w\nsystemd does not run this host: run vzreconciler yourself, or under the service manager that does", err)
		default:
			return "", fmt.Errorf("%w\nthere is no systemd for this user in this session: log in as the user (not by su or sudo), or use --system", err)
		}
	}
	return out, err
}

// Lingers reports whether a user's services run on after logout.
func Lingers(user string) bool {
	return user != "" && filepath.IsLocal(user) && exists(filepath.Join("/var/lib/systemd/linger", user))
}
