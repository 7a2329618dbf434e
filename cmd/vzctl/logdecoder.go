package main

import (
	"bytes"
	"io"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/crilog"
)

// logDecoder turns log entries back into what the two streams held.
type logDecoder struct {
	stdout, stderr io.Writer
	timestamps     bool
	// seen, if not nil, is told of each entry once it is written.
	seen func(entry []byte)

	rest []byte // an entry that has not ended yet
	// midLine tells of each stream whether its last entry was a part of a line.
	midLine [2]bool
}

// Write takes entries, cut anywhere.
func (d *logDecoder) Write(data []byte) (int, error) {
	d.rest = append(d.rest, data...)
	for {
		i := bytes.IndexByte(d.rest, '\n')
		if i < 0 {
			return len(data), nil
		}
		if err := d.entry(d.rest[:i]); err != nil {
			return 0, err
		}
		d.rest = d.rest[i+1:]
	}
}

// Close writes an entry without its end, which a log may be cut off in.
func (d *logDecoder) Close() error {
	if len(d.rest) == 0 {
		return nil
	}
	return d.entry(d.rest)
}

func (d *logDecoder) entry(text []byte) error {
	line, err := crilog.ParseLine(text)
	if err != nil {
		// Better shown as it is than lost.
		line = crilog.Line{Stream: crilog.Stdout, Text: text}
	}
	w, stream := d.stdout, 0
	if line.Stream == crilog.Stderr {
		w, stream = d.stderr, 1
	}
	var out []byte
	if d.timestamps && !d.midLine[stream] && !line.Time.IsZero() {
		out = line.Time.AppendFormat(out, time.RFC3339Nano)
		out = append(out, ' ')
	}
	out = append(out, line.Text...)
	if !line.Partial {
		out = append(out, '\n')
	}
	d.midLine[stream] = line.Partial
	if _, err = w.Write(out); err != nil {
		return err
	}
	if d.seen != nil {
		d.seen(text)
	}
	return nil
}
