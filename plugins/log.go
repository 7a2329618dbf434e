package plugins

import (
	"fmt"
	"os"
	"sync"
)

// maxLogBytes is when a plugin's log is set aside, as _plugin.log.1, and begun
// anew: a plugin's logs never take more than twice as much.
const maxLogBytes = 4 << 20

// boundedLog is a log file that a plugin writes to.
type boundedLog struct {
	path string
	max  int64

	mu   sync.Mutex
	file *os.File
	size int64
	// follow holds descriptors that are to lead to the same file: the process's
	// stdout and stderr, where a crash of Go itself is told.
	follow []int
}

func newBoundedLog(path string, most int64) (*boundedLog, error) {
	l := &boundedLog{path: path, max: most}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *boundedLog) open() error {
	f, err := openLog(l.path)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("open the plugin's log: %w", err)
	}
	l.file, l.size = f, fi.Size()
	return nil
}

// Write never fails: a plugin does not stop because its disk is full.
func (l *boundedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(p)) > l.max && l.size > 0 {
		l.rotate()
	}
	n, _ := l.file.Write(p)
	l.size += int64(n)
	return len(p), nil
}

// rotate keeps to the old file if there is no new one to be had.
func (l *boundedLog) rotate() {
	old := l.file
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		l.size = 0
		return
	}
	if err := l.open(); err != nil {
		l.size = 0
		return
	}
	_ = old.Close()
	for _, fd := range l.follow {
		_ = redirect(l.file, fd)
	}
}

// capture makes a descriptor of this process lead to the log, now and after
// each rotation.
func (l *boundedLog) capture(fd int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.follow = append(l.follow, fd)
	return redirect(l.file, fd)
}
