package linuxvm

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

const (
	// consoleMaxBytes is the size at which the console's log is rotated; one
	// older file is kept.
	consoleMaxBytes = 1 << 20
	consoleTail     = 2 << 10
	consoleLines    = 4
)

// console keeps what the guest prints: the newest of it in a file of bounded
// size, the last lines in memory. It never fails its writer: a full disk must
// not stop the guest.
type console struct {
	path string

	mu   sync.Mutex
	f    *os.File
	size int64
	tail []byte
}

// openConsole appends to the log at path.
func openConsole(path string) (*console, error) {
	c := &console{path: path}
	if err := c.open(os.O_APPEND); err != nil {
		return nil, fmt.Errorf("open the console's log: %w", err)
	}
	return c, nil
}

func (c *console) open(flag int) error {
	f, err := os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE|flag, state.FileMode)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	c.f, c.size = f, info.Size()
	return nil
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tail = append(c.tail, p...)
	if over := len(c.tail) - consoleTail; over > 0 {
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
	if c.f != nil && c.size+int64(len(p)) > consoleMaxBytes {
		c.rotate()
	}
	if c.f != nil {
		n, _ := c.f.Write(p) // what the disk does not take is lost
		c.size += int64(n)
	}
	return len(p), nil
}

// rotate starts a new file; if there can be none, nothing more is kept.
func (c *console) rotate() {
	c.f.Close()
	c.f = nil
	_ = os.Rename(c.path, c.path+".1") // if it fails, the old file is truncated
	_ = c.open(os.O_TRUNC)
}

// lastLines returns the last lines, joined, fit for an error.
func (c *console) lastLines() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lines []string
	for line := range bytes.Lines(c.tail) {
		if text := strings.TrimSpace(clean(string(line), consoleTail)); text != "" {
			lines = append(lines, text)
		}
	}
	return strings.Join(lines[max(0, len(lines)-consoleLines):], " | ")
}

// Close closes the file; what is written later only reaches the last lines.
func (c *console) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.f != nil {
		c.f.Close()
		c.f = nil
	}
}
