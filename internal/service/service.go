package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Service is a program that the host keeps running.
type Service struct {
	// Description is what the host's tools call it, in a few words.
	Description string
	// Documentation is a URL; empty for none.
	Documentation string
	// Program is the absolute path of the executable, Args what follows it.
	Program string
	Args    []string
	// Env is added to the environment that the host gives to services.
	Env map[string]string
	// User is whom a service of the system runs as; empty is root. A user's own
	// services run as that user.
	User string
	// LogFile is where its output goes; empty leaves that to the host (systemd's
	// journal). launchd has no other place than a file.
	LogFile string
}

// Manager has one service in its care.
type Manager interface {
	// Install writes the service's file, and has it started whenever the user
	// logs in, or the system boots. One that runs already runs on as it was.
	Install(ctx context.Context, s Service) (Change, error)
	// Uninstall ends the service and removes its file.
	Uninstall(ctx context.Context) error
	// Start starts the service unless it runs.
	Start(ctx context.Context) error
	// Stop ends it until the next Start, login or boot.
	Stop(ctx context.Context) error
	// Restart ends and starts it; one that does not run is started.
	Restart(ctx context.Context) error
	// Status reports on it. That it is not installed is no error.
	Status(ctx context.Context) (Status, error)
}

// Change is what an installation did.
type Change string

// Changes.
const (
	Installed Change = "installed"
	Updated   Change = "updated"
	Unchanged Change = "unchanged"
)

// State is what a service is up to.
type State string

// States of a service.
const (
	NotInstalled State = "not installed"
	Starting     State = "starting"
	Running      State = "running"
	Stopping     State = "stopping"
	Stopped      State = "stopped"
	// Failed means that it ended by itself and the host gave it up.
	Failed State = "failed"
)

// Status is how a service is doing.
type Status struct {
	State State `json:"state"`
	// PID is its process; 0 if there is none.
	PID int `json:"pid,omitempty"`
	// Since is when it came to this state; zero if the host does not tell.
	Since time.Time `json:"since,omitzero"`
	// AtLogin tells whether it starts by itself: when the user logs in, or the
	// system boots.
	AtLogin bool `json:"atLogin"`
	// Manager is who keeps it: "systemd, user".
	Manager string `json:"manager"`
	// File is what describes it to the host.
	File string `json:"file,omitempty"`
	// LogFile is where its output goes; empty if that is the journal.
	LogFile string `json:"logFile,omitempty"`
	// Message says more: how it ended, as far as the host tells.
	Message string `json:"message,omitempty"`
}

// ErrNotInstalled means that there is no such service.
var ErrNotInstalled = errors.New("the service is not installed")

// variable is what may name a variable of the environment.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// validate refuses what no service manager can take.
func (s *Service) validate() error {
	switch {
	case !filepath.IsAbs(s.Program):
		return fmt.Errorf("the program %q has no absolute path", s.Program)
	case s.LogFile != "" && !filepath.IsAbs(s.LogFile):
		return fmt.Errorf("the log file %q has no absolute path", s.LogFile)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if !variable.MatchString(name) {
			return fmt.Errorf("%q cannot be the name of a variable", name)
		}
		if err := checkText("the value of "+name, s.Env[name]); err != nil {
			return err
		}
	}
	for what, text := range map[string]string{
		"the program's path": s.Program, "the description": s.Description,
		"the documentation": s.Documentation, "the user": s.User, "the log file": s.LogFile,
	} {
		if err := checkText(what, text); err != nil {
			return err
		}
		if strings.ContainsAny(text, "\n\r\t") {
			return fmt.Errorf("%s has more than one line or a tab", what)
		}
	}
	for _, arg := range s.Args {
		if err := checkText("the argument "+fmt.Sprintf("%.40q", arg), arg); err != nil {
			return err
		}
	}
	return nil
}

// checkText refuses what neither a unit nor XML can carry.
func checkText(what, text string) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("%s is not UTF-8", what)
	}
	if strings.ContainsFunc(text, func(r rune) bool {
		return r == '\ufffe' || r == '\uffff' || unicode.IsControl(r) && r != '\n' && r != '\t'
	}) {
		return fmt.Errorf("%s holds a control character", what)
	}
	return nil
}
