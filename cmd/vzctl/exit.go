package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// Exit codes, which scripts rely on. exec passes on the process's own.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitUnreachable = 4
	exitTimedOut    = 5
	exitCannotRun   = 126 // exec: what there is of that name is no program to run
	exitNoCommand   = 127 // exec: no program of that name
	exitInterrupted = 130
)

// usageError is a command line that cannot be meant.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// exitError ends vzctl with a code; what there is to say has been said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// codeError is an error that ends vzctl with a code of its own.
type codeError struct {
	err  error
	code int
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

// errTimedOut means that what was waited for did not happen in time.
var errTimedOut = errors.New("timed out")

// exitCode returns the code that an error ends vzctl with.
func exitCode(ctx context.Context, err error) int {
	var exit exitError
	var usage *usageError
	var coded *codeError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &coded):
		return coded.code
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.Is(err, errTimedOut), errors.Is(err, context.DeadlineExceeded):
		return exitTimedOut
	case errors.Is(err, api.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, drivers.ErrNotFound), errors.Is(err, kernels.ErrNotInstalled), errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	default:
		return exitFailed
	}
}
