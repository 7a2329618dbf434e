package drivers

import (
	"io"
	"time"
)

// ProcessSpec says how to run a process in a container.
type ProcessSpec struct {
	Args []string `json:"args"`
	Env  []EnvVar `json:"env,omitempty"`
	// WorkingDir is absolute in the container; empty means "/". It is created if absent.
	WorkingDir string `json:"workingDir,omitempty"`
	// User is a name or uid, optionally ":" and a group name or gid, looked up in
	// the container's /etc/passwd and /etc/group; empty means root.
	User string `json:"user,omitempty"`
	// SupplementalGroups are added to those /etc/group gives the user.
	SupplementalGroups []uint32 `json:"supplementalGroups,omitempty"`
	Terminal           bool     `json:"terminal,omitempty"`
	// Stdin keeps a stdin open for those who attach; else the process reads
	// /dev/null. StdinOnce closes it when the first who attached with one leaves.
	// For Exec, whether it has a stdin says Stdio.
	Stdin     bool `json:"stdin,omitempty"`
	StdinOnce bool `json:"stdinOnce,omitempty"`
	// TerminalSize is the terminal's first size; zero means 80×24.
	TerminalSize TerminalSize `json:"terminalSize,omitzero"`
	// Capabilities is the whole bounding set, as "CAP_CHOWN". For a further
	// process in a container, nil means that of the container's init process.
	Capabilities    []string `json:"capabilities,omitempty"`
	NoNewPrivileges bool     `json:"noNewPrivileges,omitempty"`
}

// EnvVar is one environment variable: a Value, or the name of a secret in
// BootstrapRequest.Secrets.
type EnvVar struct {
	Name   string `json:"name"`
	Value  string `json:"value,omitempty"`
	Secret string `json:"secret,omitempty"`
}

// TerminalSize is in character cells.
type TerminalSize struct {
	Width  uint16 `json:"width"`
	Height uint16 `json:"height"`
}

// Stdio is what a process's standard streams are connected to.
type Stdio struct {
	// Stdin is read until EOF, which closes the process's stdin; nil means that
	// it has none.
	Stdin io.Reader
	// Stdout and Stderr may be nil: output is then discarded. With a terminal all
	// output goes to Stdout.
	Stdout io.Writer
	Stderr io.Writer
	// Resize, if not nil, carries the terminal's new sizes.
	Resize <-chan TerminalSize
	// Signals, if not nil, carries Linux signal numbers for the process.
	Signals <-chan int
}

// ExitStatus is how a process ended.
type ExitStatus struct {
	// Code is the exit code, or 128+n for a process ended by signal n.
	Code int `json:"code"`
	// Signal is the Linux number of the signal that ended the process, or 0.
	Signal int `json:"signal,omitempty"`
	// OOMKilled says that the kernel ended it for want of memory.
	OOMKilled  bool      `json:"oomKilled,omitempty"`
	FinishedAt time.Time `json:"finishedAt"`
}

// ProcessState is where a process is in its life.
type ProcessState string

// The states of a process.
const (
	ProcessCreated ProcessState = "created"
	ProcessRunning ProcessState = "running"
	ProcessExited  ProcessState = "exited"
)

// ProcessStatus is a process at one moment.
type ProcessStatus struct {
	ID        string       `json:"id"`
	Container string       `json:"container"`
	State     ProcessState `json:"state"`
	// PID is the process's number in the guest.
	PID       int         `json:"pid,omitempty"`
	StartedAt time.Time   `json:"startedAt,omitzero"`
	Exit      *ExitStatus `json:"exit,omitempty"`
}
