package crilog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// ReadOptions choose entries.
type ReadOptions struct {
	// Follow goes on with what is written later, until the context ends.
	Follow bool
	// Tail is how many of the last entries are read; negative means all.
	Tail int64
	// Since leaves out entries before it; zero leaves out none. An entry without
	// a time of its own belongs to the one before it.
	Since time.Time
	// Until leaves out entries at it and after it, likewise; Tail then counts those
	// that are left. It does not go with Follow. Zero leaves out none.
	Until time.Time
}

// Read sends the entries of the log at path, those of rotated files first, each
// with its newline; a line is only valid until send returns. An entry that is not
// whole yet is left for later. Lines need not be of the format of this package;
// one of more than 1 MiB comes in pieces. Read returns send's error as soon as
// there is one.
//
// Without Follow a log that does not exist is fs.ErrNotExist. With Follow it is
// waited for, rotation is followed, and the error is that of the context.
func Read(ctx context.Context, path string, opts ReadOptions, send func(line []byte) error) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	r := &reader{path: path, opts: opts, send: send, buf: make([]byte, 64<<10)}
	defer r.close()
	switch {
	case opts.Follow:
		// Watching begins before reading, so that nothing falls in between.
		w := newWaker(path)
		defer w.close()
		err = r.follow(ctx, w)
	case opts.Tail >= 0 && !opts.Until.IsZero():
		err = r.readTail(ctx)
	default:
		err = r.read(ctx)
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("read log: %w", err)
	}
	return err
}

// maxEntry bounds what is held of one line.
const maxEntry = 1 << 20

// reader is one Read.
type reader struct {
	path string
	opts ReadOptions
	send func(line []byte) error
	buf  []byte

	skip bool // the last entry was before Since, or not before Until
	// f is the newest file read so far, off where its next entry begins.
	f   *os.File
	off int64
}

func (r *reader) close() {
	if r.f != nil {
		_ = r.f.Close()
	}
}

// read sends what is there.
func (r *reader) read(ctx context.Context) error {
	files, err := openChain(r.path)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return &fs.PathError{Op: "open", Path: r.path, Err: fs.ErrNotExist}
	}
	return r.start(ctx, files)
}

// readTail sends the last Tail entries that are chosen, which only a look at all of
// them tells: a log is bounded, and so is what is held of it.
func (r *reader) readTail(ctx context.Context) error {
	send, tail := r.send, r.opts.Tail
	var last [][]byte
	r.opts.Tail = -1
	r.send = func(line []byte) error {
		last = append(last, bytes.Clone(line))
		if int64(len(last)) > tail {
			last[0] = nil
			last = last[1:]
		}
		return nil
	}
	if err := r.read(ctx); err != nil {
		return err
	}
	for _, line := range last {
		if err := send(line); err != nil {
			return err
		}
	}
	return nil
}

// start sends the last Tail entries of the files, oldest file first.
func (r *reader) start(ctx context.Context, files []*os.File) error {
	first, off := 0, int64(0)
	if r.opts.Tail >= 0 {
		var err error
		if first, off, err = tail(files, r.opts.Tail); err != nil {
			closeAll(files)
			return err
		}
	}
	closeAll(files[:first])
	return r.continueWith(ctx, files[first:], off)
}

// continueWith sends what is in the files, the first from off on. They are
// closed, but for the last, in which the reader now is.
func (r *reader) continueWith(ctx context.Context, files []*os.File, off int64) error {
	for i, f := range files {
		r.close()
		r.f, r.off = f, off
		off = 0
		if err := r.drain(ctx); err != nil {
			closeAll(files[i+1:])
			return err
		}
	}
	return nil
}

// follow sends what is there and what comes.
func (r *reader) follow(ctx context.Context, w *waker) error {
	for {
		w.aim()
		// A file that was rotated away gets no more entries. So: first see whether
		// it was, then read it to its end, then go on to the next.
		rotated, err := r.rotated()
		if err != nil {
			return err
		}
		if r.f != nil {
			if err := r.drain(ctx); err != nil {
				return err
			}
		}
		if rotated {
			moved, err := r.next(ctx)
			if err != nil {
				return err
			}
			if moved {
				continue
			}
		}
		if r.f == nil {
			r.opts.Tail = -1 // all that comes is new
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
}

// rotated reports whether the log is no longer, or not yet, the file that the
// reader is in.
func (r *reader) rotated() (bool, error) {
	fi, err := os.Stat(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil || r.f == nil {
		return true, err
	}
	own, err := r.f.Stat()
	if err != nil {
		return false, err
	}
	if own.Size() < r.off {
		r.off = 0 // somebody emptied it
	}
	return !os.SameFile(fi, own), nil
}

// next goes on to the files after the one that the reader is in, if there are any.
func (r *reader) next(ctx context.Context) (bool, error) {
	files, err := openChain(r.path)
	if err != nil || len(files) == 0 {
		return false, err
	}
	if r.f == nil {
		return true, r.start(ctx, files)
	}
	own, err := r.f.Stat()
	if err != nil {
		closeAll(files)
		return false, err
	}
	// If it is no longer among them, all of them are newer.
	for i, f := range files {
		if fi, err := f.Stat(); err == nil && os.SameFile(fi, own) {
			closeAll(files[:i+1])
			files = files[i+1:]
			break
		}
	}
	return len(files) > 0, r.continueWith(ctx, files, 0)
}

// drain sends the whole entries from off on.
func (r *reader) drain(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.f.ReadAt(r.buf, r.off)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		data, sent := r.buf[:n], 0
		for {
			i := bytes.IndexByte(data[sent:], '\n')
			if i < 0 {
				break
			}
			if err := r.line(data[sent : sent+i+1]); err != nil {
				return err
			}
			sent += i + 1
		}
		switch {
		case sent > 0:
		case n < len(r.buf):
			return nil
		case len(r.buf) < maxEntry:
			r.buf = make([]byte, 2*len(r.buf))
		default:
			if err := r.line(data); err != nil {
				return err
			}
			sent = n
		}
		r.off += int64(sent)
	}
}

func (r *reader) line(line []byte) error {
	if !r.opts.Since.IsZero() || !r.opts.Until.IsZero() {
		if l, err := ParseLine(line); err == nil {
			r.skip = l.Time.Before(r.opts.Since) || !r.opts.Until.IsZero() && !l.Time.Before(r.opts.Until)
		}
		if r.skip {
			return nil
		}
	}
	return r.send(line)
}
