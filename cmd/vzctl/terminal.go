package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// terminal is the user's terminal while a command in a sandbox has it.
type terminal struct {
	fd    int // -1 if there is none
	saved *term.State
	stop  []func()
}

// openTerminal takes the terminal that stdin or stdout is. With raw, keys reach
// the command as they are, Ctrl-C among them, until restore.
func openTerminal(stdin io.Reader, stdout io.Writer, raw bool) (*terminal, error) {
	t := &terminal{fd: -1}
	if f, ok := stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		t.fd = int(f.Fd())
	}
	if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		t.fd = int(f.Fd())
		if raw {
			saved, err := term.MakeRaw(t.fd)
			if err != nil {
				return nil, fmt.Errorf("set the terminal up: %w", err)
			}
			t.saved = saved
		}
	}
	return t, nil
}

// restore gives the terminal back as it was.
func (t *terminal) restore() {
	for _, stop := range t.stop {
		stop()
	}
	if t.saved != nil {
		_ = term.Restore(t.fd, t.saved) // there is nothing else to try
	}
}

// size returns the terminal's size; zero if there is no terminal.
func (t *terminal) size() drivers.TerminalSize {
	if t.fd < 0 {
		return drivers.TerminalSize{}
	}
	width, height, err := term.GetSize(t.fd)
	if err != nil {
		return drivers.TerminalSize{}
	}
	return drivers.TerminalSize{Width: uint16(width), Height: uint16(height)} //nolint:gosec // the kernel keeps 16 bits
}

// resizes tells the terminal's size whenever it changes, until restore. It
// returns nil if there is no terminal.
func (t *terminal) resizes() <-chan drivers.TerminalSize {
	if t.fd < 0 {
		return nil
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	ctx, cancel := context.WithCancel(context.Background())
	t.stop = append(t.stop, func() {
		signal.Stop(changed)
		cancel()
	})
	sizes := make(chan drivers.TerminalSize)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			select {
			case <-ctx.Done():
				return
			case sizes <- t.size():
			}
		}
	}()
	return sizes
}

// forwardSignals returns the signals that reach vzctl, for the command in the
// sandbox. If the command has not ended by the third one, giveUp is called.
// stop ends it.
func forwardSignals(giveUp func()) (numbers <-chan int, stop func()) {
	caught := make(chan os.Signal, 4)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan int, 1)
	go func() {
		for n := 1; ; n++ {
			select {
			case <-ctx.Done():
				return
			case s := <-caught:
				if n > 2 {
					giveUp()
					return
				}
				// These four have the same numbers on macOS as in the guest.
				number, _ := s.(syscall.Signal)
				select {
				case out <- int(number):
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out, func() {
		signal.Stop(caught)
		cancel()
	}
}
