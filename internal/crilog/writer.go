package crilog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"
)

// Options of a Writer; the zero value is good.
type Options struct {
	// MaxBytes is the size a file is rotated at. Default: 10 MiB.
	MaxBytes int64
	// Backups is how many rotated files are kept, as PATH.1 (the newest), PATH.2
	// and so on. Default: 1; negative: none.
	Backups int
	// PositionFile, if not empty, is where the Writer notes how much of the
	// process's output it has taken: see Begin.
	PositionFile string
}

const (
	defaultMaxBytes = 10 << 20
	// maxBatch is how much is gathered before it is written.
	maxBatch = 64 << 10
	fileMode = 0o600
)

// Writer appends what a process prints to a log file. It never fails its
// caller: what the disk does not take is dropped, and a later entry tells how
// much that was. A Writer may be used by several goroutines.
type Writer struct {
	path string
	opts Options
	open func(path string, flag int) (file, error) // os.OpenFile, but for tests

	mu      sync.Mutex
	f       file
	size    int64 // of f
	torn    bool  // f ends within an entry that could not be taken back
	closed  bool
	batch   []byte // entries not yet written
	lines   int    // entries in batch
	dropped int64  // entries lost since the last that was written
	lost    error  // why
	out     *stream
	err     *stream
	marks   *marks // nil without a PositionFile
}

// file is what a Writer needs of an *os.File.
type file interface {
	io.WriteCloser
	Truncate(size int64) error
}

// NewWriter opens the log at path for appending, private to the user. An entry
// that a crash cut short is ended, so that it does not spoil the next.
func NewWriter(path string, opts Options) (*Writer, error) {
	return newWriter(path, opts, openFile)
}

func openFile(path string, flag int) (file, error) {
	return os.OpenFile(path, flag, fileMode) //nolint:gosec // the caller names its log
}

func newWriter(path string, opts Options, open func(string, int) (file, error)) (*Writer, error) {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = defaultMaxBytes
	}
	if opts.Backups == 0 {
		opts.Backups = 1
	}
	w := &Writer{path: path, opts: opts, open: open}
	w.out = &stream{w: w, name: Stdout}
	w.err = &stream{w: w, name: Stderr}
	if opts.PositionFile != "" {
		var err error
		if w.marks, err = openMarks(opts.PositionFile, path); err != nil {
			return nil, err
		}
	}
	size, torn, err := inspect(path)
	if err == nil {
		w.f, err = open(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE)
	}
	if err != nil {
		if w.marks != nil {
			_ = w.marks.f.Close()
		}
		return nil, fmt.Errorf("open log: %w", err)
	}
	w.size, w.torn = size, torn
	w.noteFile()
	return w, nil
}

// Begin says which run of the process is written from now on, and returns where
// in its output to go on: at its start, unless a Writer before this one had begun
// the same run. It needs a PositionFile and comes before the first write.
func (w *Writer) Begin(run uint64) Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.marks.Position
	if at.Run != run {
		at = Position{Run: run}
	}
	w.goOn(at)
	return at
}

// BeginAt is Begin at a place that the caller knows better: what the process has
// printed before is in no need of being in this log.
func (w *Writer) BeginAt(at Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.goOn(at)
}

func (w *Writer) goOn(at Position) {
	w.marks.Position = at
	w.out.taken, w.err.taken = at.Stdout, at.Stderr
	w.saveMark()
}

// Position returns how much of the run's output is in the log for good.
func (w *Writer) Position() Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.marks.Position
}

// Taken returns how much of the run's output was written: the beginning of a line
// that is yet to end is not in the log for good.
func (w *Writer) Taken() Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Position{Run: w.marks.Run, Stdout: w.out.taken, Stderr: w.err.taken}
}

// noteFile notes which file the log has come to be.
func (w *Writer) noteFile() {
	if w.marks == nil {
		return
	}
	// Without one the position says nothing, and costs exactness after a crash.
	w.marks.inode, _, _ = fileOf(w.path)
}

// saveMark notes the present position.
func (w *Writer) saveMark() {
	if w.marks == nil {
		return
	}
	w.marks.Stdout, w.marks.Stderr = w.out.kept(), w.err.kept()
	w.marks.size = w.size
	w.marks.save()
}

// inspect returns the size of the log at path, 0 if there is none, and whether
// it ends within an entry.
func inspect(path string) (size int64, torn bool, err error) {
	f, err := openToRead(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || fi.Size() == 0 {
		return 0, false, err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], fi.Size()-1); err != nil {
		return 0, false, err
	}
	return fi.Size(), last[0] != '\n', nil
}

// Stream returns the writer for Stdout or Stderr; any other name counts as
// Stdout. Its Write fails only after Close.
func (w *Writer) Stream(name string) io.Writer {
	if name == Stderr {
		return w.err
	}
	return w.out
}

// Close writes what is left of unfinished lines and closes the file.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	now := time.Now()
	for _, s := range []*stream{w.out, w.err} {
		if len(s.partial) > 0 {
			w.add(Line{Time: now, Stream: s.name, Partial: true, Text: s.partial})
			s.partial = nil
		}
	}
	w.flush()
	err := w.f.Close()
	if w.marks != nil {
		w.saveMark()
		err = errors.Join(err, w.marks.f.Close())
	}
	return err
}

// stream is one of a process's output streams.
type stream struct {
	w       *Writer
	name    string
	partial []byte // the line begun, at most maxText
	taken   int64  // bytes written to the stream
}

// kept returns how many of the bytes taken are not in a line that is yet to end.
func (s *stream) kept() int64 { return s.taken - int64(len(s.partial)) }

func (s *stream) Write(p []byte) (int, error) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, fmt.Errorf("write log %s: %w", w.path, fs.ErrClosed)
	}
	now := time.Now()
	for rest := p; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		text, whole := rest, end >= 0
		if whole {
			text = rest[:end]
		}
		if room := maxText - len(s.partial); len(text) > room {
			text, whole = text[:room], false
		}
		rest = rest[len(text):]
		if whole {
			rest = rest[1:]
		}
		// The common line lies whole in p and need not be copied first.
		if len(s.partial) > 0 || !whole {
			s.partial = append(s.partial, text...)
			text = s.partial
		}
		if whole || (len(s.partial) == maxText && len(rest) > 0) {
			w.add(Line{Time: now, Stream: s.name, Partial: !whole, Text: text})
			s.partial = s.partial[:0]
		}
	}
	w.flush()
	s.taken += int64(len(p))
	w.saveMark()
	return len(p), nil
}

// add puts an entry into the batch, and the batch and the file out of its way
// when they are full.
func (w *Writer) add(l Line) {
	need := int64(maxPrefix + len(l.Text) + 1)
	pending := w.size + int64(len(w.batch))
	switch {
	case pending > 0 && pending+need > w.opts.MaxBytes:
		w.flush()
		w.rotate()
	case len(w.batch)+int(need) > maxBatch:
		w.flush()
	}
	w.batch = l.Append(w.batch)
	w.lines++
}

// flush writes the batch.
func (w *Writer) flush() {
	if w.lines == 0 {
		return
	}
	lines := w.lines
	data := w.batch
	w.batch, w.lines = w.batch[:0], 0
	if w.size > w.opts.MaxBytes+maxBatch {
		// The file could not be rotated: it must not grow without end instead.
		w.drop(int64(lines), w.lost)
		return
	}
	if head := w.head(); len(head) > 0 {
		if err := w.write(head); err != nil {
			w.drop(int64(lines), err)
			return
		}
		w.dropped, w.lost = 0, nil
	}
	before := w.size
	if err := w.write(data); err != nil {
		kept := bytes.Count(data[:w.size-before], []byte("\n"))
		w.drop(int64(lines-kept), err)
	}
}

// head returns what must be written before the next entries: the end of a torn
// entry and the note on those lost.
func (w *Writer) head() []byte {
	var head []byte
	if w.torn {
		head = append(head, '\n')
	}
	if w.dropped > 0 {
		text := "vzreconciler: " + strconv.FormatInt(w.dropped, 10) + " lines of this log were lost"
		if w.lost != nil {
			text += ": " + w.lost.Error()
		}
		head = Line{Time: time.Now(), Stream: Stderr, Text: []byte(text)}.Append(head)
	}
	return head
}

// write appends data. When not all of it was written, whole entries are kept
// and the rest is taken back.
func (w *Writer) write(data []byte) error {
	n, err := w.f.Write(data)
	if err == nil {
		w.size += int64(n)
		w.torn = false
		return nil
	}
	whole := bytes.LastIndexByte(data[:n], '\n') + 1
	w.size += int64(whole)
	if whole > 0 {
		w.torn = false
	}
	if n > whole && w.f.Truncate(w.size) != nil {
		w.torn = true
	}
	return err
}

func (w *Writer) drop(lines int64, err error) {
	w.dropped += lines
	// Of an fs.PathError only the cause: readers know which log they read.
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	w.lost = err
}
