package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
)

const (
	// maxOutput is how much of what a guest answers is kept.
	maxOutput = 512
	// maxRead is how much of it is read at all.
	maxRead = 10 << 10
)

// Target is the sandbox that is asked.
type Target interface {
	Exec(ctx context.Context, container string, spec drivers.ProcessSpec, stdio drivers.Stdio) (drivers.ExitStatus, error)
	Dial(ctx context.Context, to drivers.Address) (drivers.Conn, error)
}

// Outcome is what an answer comes to.
type Outcome int

// The outcomes.
const (
	// Unknown: it could not be asked. That counts neither way.
	Unknown Outcome = iota
	Success
	Failure
)

// String returns the kubelet's word for it: "unknown", "successful" or "failed".
func (o Outcome) String() string {
	return [...]string{"unknown", "successful", "failed"}[o]
}

// Result is one answer.
type Result struct {
	Outcome Outcome
	// Message says why it is no success: "HTTP status 503". It holds nothing that
	// the guest has said.
	Message string
	// Output is what the guest said, shortened, in one line. It may hold whatever
	// the guest knows, secrets too.
	Output string
}

func failure(format string, args ...any) Result {
	return Result{Outcome: Failure, Message: fmt.Sprintf(format, args...)}
}

// Request is what to ask.
type Request struct {
	// Probe has its defaults, and a number for each port.
	Probe *corev1.Probe
	// Container is the one that is asked, and Process what runs in it: an exec
	// probe has its variables, user and directory.
	Container string
	Process   drivers.ProcessSpec
}

// Do asks once. It takes no longer than the probe's timeout.
func Do(ctx context.Context, target Target, req Request) Result {
	timeout := time.Duration(req.Probe.TimeoutSeconds) * time.Second
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var r Result
	switch p := req.Probe; {
	case p.Exec != nil:
		r = execute(ctx, target, req)
	case p.HTTPGet != nil:
		r = get(ctx, target, p.HTTPGet)
	case p.TCPSocket != nil:
		r = connect(ctx, target, p.TCPSocket.Port.IntValue())
	case p.GRPC != nil:
		r = checkHealth(ctx, target, p.GRPC)
	default:
		return Result{Message: "there is nothing to ask"}
	}
	if r.Outcome == Failure && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		r.Message = fmt.Sprintf("no answer within %s", timeout)
	}
	return r
}

// failed is the result of an error: that of the guest, unless the sandbox could
// not be asked at all.
func failed(what string, err error) Result {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, drivers.ErrInvalidState),
		errors.Is(err, drivers.ErrUnsupported), errors.Is(err, drivers.ErrUnavailable):
		return Result{Message: what + ": the sandbox could not be asked", Output: oneLine(err.Error())}
	case errors.Is(err, drivers.ErrRefused):
		return failure("%s: connection refused", what)
	}
	r := failure("%s: failed", what)
	r.Output = oneLine(err.Error())
	return r
}

func execute(ctx context.Context, target Target, req Request) Result {
	spec := req.Process
	spec.Args, spec.Terminal, spec.Stdin = req.Probe.Exec.Command, false, false
	spec.Capabilities = nil
	var out limited
	exit, err := target.Exec(ctx, req.Container, spec, drivers.Stdio{Stdout: &out, Stderr: &out})
	switch {
	case err != nil && ctx.Err() != nil:
		r := failed("exec", ctx.Err())
		r.Output = oneLine(out.String())
		return r
	case err != nil: // That it cannot be run says nothing of the container.
		return Result{Message: "exec: the program could not be run", Output: oneLine(err.Error())}
	case exit.Code != 0:
		r := failure("exit code %d", exit.Code)
		r.Output = oneLine(out.String())
		return r
	}
	return Result{Outcome: Success}
}

func connect(ctx context.Context, target Target, port int) Result {
	conn, err := target.Dial(ctx, drivers.Address{Port: port})
	if err != nil {
		return failed(fmt.Sprintf("port %d", port), err)
	}
	_ = conn.Close()
	return Result{Outcome: Success}
}

// limited keeps the beginning of what is written to it.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := maxRead - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// oneLine makes what a guest said fit to be shown.
func oneLine(s string) string {
	s = strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) {
			return ' '
		}
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, ""))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxOutput {
		s = strings.ToValidUTF8(s[:maxOutput], "") + "…"
	}
	return s
}
