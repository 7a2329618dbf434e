package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// commandTimeout bounds one call of a host's tool. A stop takes as long as the
// service has to end, 30 s.
const commandTimeout = 90 * time.Second

// maxOutput bounds what is kept of a tool's output.
const maxOutput = 1 << 20

// commandError is a host's tool that failed.
type commandError struct {
	Command string
	// Code is its exit code; -1 if it did not exit by itself.
	Code   int
	Stderr string
	err    error
}

func (e *commandError) Error() string {
	if e.Stderr != "" {
		return fmt.Sprintf("%s: %s", e.Command, e.Stderr)
	}
	return fmt.Sprintf("%s: %v", e.Command, e.err)
}

func (e *commandError) Unwrap() error { return e.err }

// run runs a host's tool and returns what it printed. Its language is English
// and its time zone UTC.
func run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0")
	cmd.WaitDelay = time.Second
	var stdout, stderr bounded
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return stdout.String(), nil
	}
	failed := &commandError{Command: name + " " + strings.Join(args, " "), Code: -1, Stderr: strings.TrimSpace(stderr.String()), err: err}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		failed.Code = exit.ExitCode()
	}
	if cause := ctx.Err(); cause != nil {
		failed.err, failed.Stderr = cause, ""
	}
	return stdout.String(), failed
}

// bounded keeps the beginning of what is written to it.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxOutput - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
