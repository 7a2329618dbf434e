package events

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
)

const (
	journalFile    = "events.jsonl"
	journalVersion = 1
	// maxLine bounds a line that is read: far more than an event can need.
	maxLine = 64 << 10
	// slack is how many lines beyond twice the kept events make a rewrite worth it.
	slack = 1000
)

// change is one line of the journal after the first: an event as it is now, or
// an object whose events are forgotten.
type change struct {
	Event  *Event         `json:"event,omitempty"`
	Forget *manifests.Key `json:"forget,omitempty"`
}

// header is the first line.
type header struct {
	Version int `json:"version"`
}

// journal is the file behind a Recorder: lines appended, and now and then
// rewritten whole. It belongs to one goroutine.
type journal struct {
	path   string
	log    *slog.Logger
	f      *os.File
	lines  int
	broken bool // the file lacks something: rewrite it
	warned bool // that it is so
}

// openJournal reads the file at path, giving each change in turn to apply.
func openJournal(path string, log *slog.Logger, apply func(change)) (*journal, error) {
	j := &journal{path: path, log: log}
	bad, err := j.load(apply)
	if err != nil {
		return nil, err
	}
	if bad > 0 {
		log.Warn("left out events that cannot be read", "file", path, "lines", bad)
	}
	// Whatever was there, the first flush leaves a clean file.
	j.broken = true
	return j, nil
}

func (j *journal) load(apply func(change)) (bad int, err error) {
	f, err := os.Open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, maxLine)
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.ReadSlice('\n')
			}
			line = nil
		}
		atEnd := errors.Is(err, io.EOF)
		if err != nil && !atEnd {
			return bad, err
		}
		if len(bytes.TrimSpace(line)) > 0 || !atEnd {
			if first {
				var h header
				if json.Unmarshal(line, &h) == nil && h.Version > journalVersion {
					return 0, fmt.Errorf("%s has version %d, this program knows %d: it was written by a newer one", j.path, h.Version, journalVersion)
				} else if h.Version != 0 {
					continue
				}
			}
			var c change
			if json.Unmarshal(line, &c) != nil || (c.Event == nil) == (c.Forget == nil) {
				bad++
			} else {
				apply(c)
			}
		}
		if atEnd {
			return bad, nil
		}
	}
}

// wantsRewrite reports whether the file had better be written anew than be
// appended n lines to, when it holds so many events.
func (j *journal) wantsRewrite(n, events int) bool {
	return j.broken || j.lines+n > 2*events+slack
}

func (j *journal) append(changes []change) {
	if len(changes) == 0 {
		return
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	for _, c := range changes {
		if err := enc.Encode(c); err != nil {
			j.failed(err)
			return
		}
	}
	if _, err := j.f.Write(buf.Bytes()); err != nil {
		j.failed(err)
		return
	}
	j.lines += len(changes)
}

func (j *journal) rewrite(events []Event) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	err := enc.Encode(header{Version: journalVersion})
	for i := range events {
		err = errors.Join(err, enc.Encode(change{Event: &events[i]}))
	}
	if err == nil {
		err = state.WriteFile(j.path, buf.Bytes())
	}
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND, state.FileMode)
	}
	if err != nil {
		j.failed(err)
		return
	}
	_ = j.close()
	j.f, j.lines = f, len(events)+1
	j.broken = false
	if j.warned {
		j.warned = false
		j.log.Info("events are kept on disk again", "file", j.path)
	}
}

// failed notes that the file is behind; the next flush tries to write it anew.
func (j *journal) failed(err error) {
	if !j.warned {
		j.log.Warn("cannot keep events on disk; trying again with each new one", "file", j.path, "error", err)
	}
	_ = j.close()
	j.broken, j.warned = true, true
}

func (j *journal) close() error {
	if j.f == nil {
		return nil
	}
	err := j.f.Close()
	j.f = nil
	return err
}
