package drivers

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/vzreconciler/vzreconciler/internal/crilog"
)

// maxConfiguration bounds a ConfigurationFile: it may hold ConfigMaps.
const maxConfiguration = 64 << 20

// ReadConfiguration reads the Configuration in a bundle. What is wrong with it is
// ErrInvalidArgument.
func ReadConfiguration(bundle string) (Configuration, error) {
	var c Configuration
	f, err := os.Open(filepath.Join(bundle, ConfigurationFile)) //nolint:gosec // the sandbox's own directory
	if err != nil {
		return c, fmt.Errorf("%w: %w", ErrInvalidArgument, err)
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxConfiguration)).Decode(&c); err != nil {
		return c, fmt.Errorf("%w: %s: %w", ErrInvalidArgument, ConfigurationFile, err)
	}
	if c.Version != ConfigurationVersion {
		return c, fmt.Errorf("%w: %s has version %d, want %d", ErrInvalidArgument, ConfigurationFile, c.Version, ConfigurationVersion)
	}
	if len(c.Containers) == 0 {
		return c, fmt.Errorf("%w: there is no container", ErrInvalidArgument)
	}
	return c, nil
}

// Log is the log of a process, as `vzctl logs` reads it: it is bounded, and a
// disk that is full does not stop whoever writes.
type Log struct{ w *crilog.Writer }

// OpenLog opens the log of the process with this id in a bundle, to go on at its
// end.
func OpenLog(bundle, id string) (*Log, error) {
	dir := filepath.Join(bundle, LogsDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if filepath.Base(id) != id {
		return nil, fmt.Errorf("%w: process id %q", ErrInvalidArgument, id)
	}
	w, err := crilog.NewWriter(filepath.Join(dir, id+".log"), crilog.Options{})
	if err != nil {
		return nil, err
	}
	return &Log{w}, nil
}

// Stdout returns the writer of what the process prints.
func (l *Log) Stdout() io.Writer { return l.w.Stream("stdout") }

// Stderr returns the writer of what the process prints as errors.
func (l *Log) Stderr() io.Writer { return l.w.Stream("stderr") }

// Close closes the log.
func (l *Log) Close() error { return l.w.Close() }
