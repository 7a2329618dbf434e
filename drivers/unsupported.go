package drivers

import (
	"context"
	"fmt"
	"io"
)

// Unsupported has every route that a runtime may lack; each answers
// ErrUnsupported. A Runtime embeds it and writes those that it has, and names
// their capabilities in Info. Routes that come later are added here: a runtime
// that embeds it goes on compiling.
type Unsupported struct{}

func unsupported(route string) error {
	return fmt.Errorf("%s: %w by this runtime", route, ErrUnsupported)
}

// Exec implements Runtime.
func (Unsupported) Exec(context.Context, string, ProcessSpec, Stdio) (ExitStatus, error) {
	return ExitStatus{}, unsupported("exec")
}

// Attach implements Runtime.
func (Unsupported) Attach(context.Context, string, Stdio) (ExitStatus, error) {
	return ExitStatus{}, unsupported("attach")
}

// Dial implements Runtime.
func (Unsupported) Dial(context.Context, Address) (Conn, error) { return nil, unsupported("dial") }

// CopyIn implements Runtime.
func (Unsupported) CopyIn(context.Context, CopyInRequest, io.Reader) error {
	return unsupported("copy in")
}

// CopyOut implements Runtime.
func (Unsupported) CopyOut(context.Context, CopyOutRequest, io.Writer) error {
	return unsupported("copy out")
}

// SnapshotDisk implements Runtime.
func (Unsupported) SnapshotDisk(context.Context, string) error { return unsupported("snapshot disk") }

// SaveState implements Runtime.
func (Unsupported) SaveState(context.Context, string, SaveOptions) error {
	return unsupported("save state")
}

// RestoreState implements Runtime.
func (Unsupported) RestoreState(context.Context, BootstrapRequest, string) error {
	return unsupported("restore state")
}

// Resize implements Runtime.
func (Unsupported) Resize(context.Context, string, TerminalSize) error { return unsupported("resize") }

// Statistics implements Runtime.
func (Unsupported) Statistics(context.Context) (Statistics, error) {
	return Statistics{}, unsupported("statistics")
}

// Pause implements Runtime.
func (Unsupported) Pause(context.Context) error { return unsupported("pause") }

// Resume implements Runtime.
func (Unsupported) Resume(context.Context) error { return unsupported("resume") }
