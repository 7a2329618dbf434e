package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Launchd keeps a service by launchd.
type Launchd struct {
	// Label is the job's name.
	Label string
	// Dir is where property lists lie: SystemJobDir, or the user's.
	Dir string
	// System means the system's jobs instead of the user's.
	System bool
	// UID is the user's.
	UID int
}

// SystemJobDir is where an administrator's jobs lie.
const SystemJobDir = "/Library/LaunchDaemons"

// UserJobDir returns where a user's jobs lie.
func UserJobDir() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the user's agents: %w", err)
	}
	return filepath.Join(home, "Library", "LaunchAgents"), nil
}

const (
	// noSuchJob is launchctl's exit code for a job that is not loaded.
	noSuchJob = 113
	// goneTimeout bounds how long a job that is let go of may take to end. It has
	// 30 s before it is killed.
	goneTimeout = 40 * time.Second
	// goneInterval is how often it is looked at meanwhile.
	goneInterval = 100 * time.Millisecond
)

func (m *Launchd) file() string { return filepath.Join(m.Dir, m.Label+".plist") }

// Install implements Manager.
func (m *Launchd) Install(ctx context.Context, s Service) (Change, error) {
	if err := s.validate(); err != nil {
		return "", err
	}
	domain, err := m.domain(ctx)
	if err != nil {
		return "", err
	}
	data, err := propertyList(m.Label, &s, m.System)
	if err != nil {
		return "", err
	}
	change, err := put(m.file(), data, m.System)
	if err != nil {
		return "", err
	}
	// Somebody may have disabled it: such a job cannot be loaded.
	_, err = call(ctx, "enable", domain+"/"+m.Label)
	return change, err
}

// Uninstall implements Manager.
func (m *Launchd) Uninstall(ctx context.Context) error {
	if err := need(m.file()); err != nil {
		return err
	}
	if err := m.Stop(ctx); err != nil {
		return err
	}
	if err := os.Remove(m.file()); err != nil {
		return fmt.Errorf("uninstall the service: %w", err)
	}
	return nil
}

// Start implements Manager.
func (m *Launchd) Start(ctx context.Context) error {
	if err := need(m.file()); err != nil {
		return err
	}
	domain, err := m.domain(ctx)
	if err != nil {
		return err
	}
	_, loaded, err := m.look(ctx, domain)
	if err != nil {
		return err
	}
	if loaded {
		_, err = call(ctx, "kickstart", domain+"/"+m.Label)
		return err
	}
	_, err = call(ctx, "bootstrap", domain, m.file())
	return err
}

// Stop implements Manager. launchd has no other word for it than to let go of the
// job; its file stays.
func (m *Launchd) Stop(ctx context.Context) error {
	if err := need(m.file()); err != nil {
		return err
	}
	domain, err := m.domain(ctx)
	if err != nil {
		return err
	}
	_, loaded, err := m.look(ctx, domain)
	if err != nil || !loaded {
		return err
	}
	// It may say that this goes on still, so how it ends is what counts.
	_, failed := call(ctx, "bootout", domain+"/"+m.Label)
	return m.gone(ctx, domain, failed)
}

// gone waits for a job to be no longer loaded.
func (m *Launchd) gone(ctx context.Context, domain string, failed error) error {
	ctx, cancel := context.WithTimeout(ctx, goneTimeout)
	defer cancel()
	tick := time.NewTicker(goneInterval)
	defer tick.Stop()
	for {
		_, loaded, err := m.look(ctx, domain)
		if err != nil || !loaded {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for %s to end: %w", m.Label, ctx.Err()), failed)
		case <-tick.C:
		}
	}
}

// Restart implements Manager. A job whose file changed must be loaded anew.
func (m *Launchd) Restart(ctx context.Context) error {
	if err := m.Stop(ctx); err != nil {
		return err
	}
	return m.Start(ctx)
}

// Status implements Manager.
func (m *Launchd) Status(ctx context.Context) (Status, error) {
	s := Status{State: NotInstalled, Manager: "launchd, user"}
	if m.System {
		s.Manager = "launchd, system"
	}
	domain, err := m.domain(ctx)
	if err != nil {
		return Status{}, err
	}
	out, loaded, err := m.look(ctx, domain)
	if err != nil {
		return Status{}, err
	}
	if exists(m.file()) {
		s.State, s.File, s.AtLogin = Stopped, m.file(), true
	}
	if !loaded {
		return s, nil
	}
	parsePrint(out, &s)
	if s.PID > 0 {
		s.Since = startOf(ctx, s.PID)
	}
	return s, nil
}

// parsePrint reads what launchctl print says of a job: one "name = value" a line,
// nested things in braces deeper.
func parsePrint(out string, s *Status) {
	state := ""
	for line := range strings.Lines(out) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), " = ")
		if !ok || strings.HasPrefix(name, "\t\t") {
			continue
		}
		switch strings.TrimSpace(name) {
		case "state":
			state = value
		case "pid":
			s.PID, _ = strconv.Atoi(value) // 0 is what there is to say otherwise
		case "path":
			s.File = value
		case "stdout path":
			s.LogFile = value
		case "last exit code":
			if value != "0" && value != "(never exited)" {
				s.Message = "it ended with exit code " + value
			}
		}
	}
	switch {
	case s.PID > 0:
		s.State = Running
	case state == "spawn scheduled":
		s.State = Starting
	default:
		s.State = Stopped
	}
}

// startOf asks when a process started; zero if that is not to be had.
func startOf(ctx context.Context, pid int) time.Time {
	out, err := run(ctx, "ps", "-o", "lstart=", "-p", strconv.Itoa(pid))
	if err != nil {
		return time.Time{}
	}
	start, err := time.Parse(time.ANSIC, strings.TrimSpace(out))
	if err != nil {
		return time.Time{}
	}
	return start
}

// look returns what launchctl says of the job, and whether it knows it.
func (m *Launchd) look(ctx context.Context, domain string) (out string, loaded bool, err error) {
	out, err = call(ctx, "print", domain+"/"+m.Label)
	if failed, ok := errors.AsType[*commandError](err); ok && failed.Code == noSuchJob {
		return "", false, nil
	}
	return out, err == nil, err
}

// domain returns where the job lives: of the user's session on the screen, of the
// user otherwise (over SSH), or of the system.
func (m *Launchd) domain(ctx context.Context) (string, error) {
	if m.System {
		return "system", nil
	}
	name, err := call(ctx, "managername")
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(name) == "Aqua" {
		return fmt.Sprintf("gui/%d", m.UID), nil
	}
	return fmt.Sprintf("user/%d", m.UID), nil
}

// call runs launchctl.
func call(ctx context.Context, args ...string) (string, error) {
	out, err := run(ctx, "launchctl", args...)
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("there is no launchd on this host (no launchctl)")
	}
	return out, err
}
