package drivers

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of error that a Runtime returns, told apart with errors.Is. They
// keep their kind across a plugin's process boundary.
var (
	// ErrInvalidState means that the sandbox's state does not allow the call.
	ErrInvalidState = errors.New("invalid state")
	// ErrInvalidArgument means that the call can never succeed as it stands.
	ErrInvalidArgument = errors.New("invalid argument")
	// ErrNotFound means that the named process, container or file is not there.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable means that the host lacks what is needed: a program, a
	// kernel, a device. The message says what to do.
	ErrUnavailable = errors.New("unavailable")
	// ErrUnsupported means that this runtime cannot do what is asked.
	ErrUnsupported = errors.New("not supported")
	// ErrRefused means that nothing in the sandbox listens where Dial was to connect.
	ErrRefused = errors.New("connection refused")
	// ErrExhausted means that the host ran out of memory, disk or another resource.
	ErrExhausted = errors.New("resource exhausted")
)

// InvalidState returns an ErrInvalidState for an operation that needs one of
// the wanted states.
func InvalidState(op string, state State, want ...State) error {
	return fmt.Errorf("%s: %w: the sandbox is %s, want %s", op, ErrInvalidState, state, joinStates(want))
}

func joinStates(states []State) string {
	words := make([]string, len(states))
	for i, s := range states {
		words[i] = string(s)
	}
	return strings.Join(words, " or ")
}
