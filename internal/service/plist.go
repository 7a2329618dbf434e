package service

import (
	"fmt"

	"howett.net/plist"
)

// agent is a job of launchd, see launchd.plist(5).
type agent struct {
	Label            string            `plist:"Label"`
	ProgramArguments []string          `plist:"ProgramArguments"`
	Environment      map[string]string `plist:"EnvironmentVariables,omitempty"`
	UserName         string            `plist:"UserName,omitempty"`
	RunAtLoad        bool              `plist:"RunAtLoad"`
	KeepAlive        bool              `plist:"KeepAlive"`
	// ThrottleInterval is the least number of seconds between two starts.
	ThrottleInterval int `plist:"ThrottleInterval"`
	// ExitTimeOut is how many seconds it has to end before it is killed.
	ExitTimeOut int `plist:"ExitTimeOut"`
	// AbandonProcessGroup leaves what it started alive when it ends: sandboxes.
	AbandonProcessGroup bool `plist:"AbandonProcessGroup"`
	// ProcessType Interactive has neither it nor the VMs below it throttled.
	ProcessType string `plist:"ProcessType"`
	// Sessions in which it may run: on the screen, and over SSH.
	Sessions []string `plist:"LimitLoadToSessionType,omitempty"`
	Stdout   string   `plist:"StandardOutPath,omitempty"`
	Stderr   string   `plist:"StandardErrorPath,omitempty"`
}

// propertyList returns the property list of a launchd job, of the system or of a
// user.
func propertyList(label string, s *Service, system bool) ([]byte, error) {
	a := agent{
		Label:               label,
		ProgramArguments:    append([]string{s.Program}, s.Args...),
		Environment:         s.Env,
		RunAtLoad:           true,
		KeepAlive:           true,
		ThrottleInterval:    5,
		ExitTimeOut:         30,
		AbandonProcessGroup: true,
		ProcessType:         "Interactive",
		Stdout:              s.LogFile,
		Stderr:              s.LogFile,
	}
	if system {
		a.UserName = s.User
	} else {
		a.Sessions = []string{"Aqua", "Background"}
	}
	data, err := plist.MarshalIndent(a, plist.XMLFormat, "\t")
	if err != nil {
		return nil, fmt.Errorf("write the property list of %s: %w", label, err)
	}
	return append(data, '\n'), nil
}
