package linuxvm

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/vzreconciler/vzreconciler/drivers"
)

const (
	// callTimeout bounds a call to the agent that has little to do.
	callTimeout = 10 * time.Second
	// dialTimeout bounds a connection's making, on a busy host.
	dialTimeout = 30 * time.Second
	// setupTimeout bounds one that mounts or grows disks, on a busy host.
	setupTimeout = 60 * time.Second
	// killTimeout bounds the wait for a machine to be gone after Kill.
	killTimeout = 10 * time.Second
)

// vm is a machine that runs and whose agent answered. What it consists of does not
// change.
type vm struct {
	config  drivers.Configuration
	bundle  string
	secrets secrets
	machine Machine
	client  *line
	console *console
	shares  []Share
}

// container returns the configuration of a container.
func (v *vm) container(name string) (drivers.Container, bool) {
	for _, ct := range v.config.Containers {
		if ct.Name == name {
			return ct, true
		}
	}
	return drivers.Container{}, false
}

// teardown makes the machine go away, whatever state it is in.
func (v *vm) teardown() error {
	v.client.close()
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	err := v.machine.Kill(ctx)
	v.console.Close()
	if err != nil {
		return fmt.Errorf("end the virtual machine: %w", err)
	}
	return nil
}

// gone reports whether the machine has ended, and why.
func (v *vm) gone() (reason string, ok bool) {
	select {
	case <-v.machine.Exited():
	default:
		return "", false
	}
	if reason = v.machine.ExitReason(); reason == "" {
		reason = "the guest powered off"
	}
	return reason, true
}

// lost reports whether the machine has ended, or a link to its agent broken; it
// waits a while for that to show.
func (v *vm) lost(l *link, wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-v.machine.Exited():
	case <-l.done:
	case <-t.C:
		return false
	}
	return true
}

// clean makes text from the guest fit for an error or a status: one line, with
// nothing in it that a terminal obeys, of at most n bytes.
func clean(text string, n int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > n {
		text = strings.ToValidUTF8(text[:n], "") + "…"
	}
	return text
}
