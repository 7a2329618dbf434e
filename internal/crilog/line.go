package crilog

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// Names of the streams.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

const (
	// maxText is the most text in one entry; a longer line is cut in pieces.
	maxText = 16 << 10
	// timeLayout is RFC 3339 with nanoseconds of fixed width.
	timeLayout = "2006-01-02T15:04:05.000000000Z07:00"
	// maxPrefix bounds what stands before the text.
	maxPrefix = len(timeLayout) + len(" stdout F ")
)

// Line is one entry of a log.
type Line struct {
	Time   time.Time
	Stream string // Stdout or Stderr
	// Partial says that the line of output goes on in the stream's next entry.
	Partial bool
	// Text is without the newline.
	Text []byte
}

var errFormat = errors.New(`not a log entry of the form "TIME stdout|stderr F|P TEXT"`)

// ParseLine reads one entry, with or without its newline. The Text lies in the
// given line.
func ParseLine(line []byte) (Line, error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	stamp, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || len(stamp) > 2*len(timeLayout) {
		return Line{}, errFormat
	}
	t, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return Line{}, fmt.Errorf("%w: %w", errFormat, err)
	}
	stream, rest, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return Line{}, errFormat
	}
	l := Line{Time: t}
	switch string(stream) {
	case Stdout, Stderr:
		l.Stream = string(stream)
	default:
		return Line{}, errFormat
	}
	// An entry without text may have lost the blank before it.
	tags, text, _ := bytes.Cut(rest, []byte(" "))
	// Only the first of the tags, which colons part, has a meaning today.
	tag, _, _ := bytes.Cut(tags, []byte(":"))
	switch string(tag) {
	case "F":
	case "P":
		l.Partial = true
	default:
		return Line{}, errFormat
	}
	l.Text = text
	return l, nil
}

// Append appends the entry, with its newline, to dst.
func (l Line) Append(dst []byte) []byte {
	dst = l.Time.UTC().AppendFormat(dst, timeLayout)
	dst = append(dst, ' ')
	dst = append(dst, l.Stream...)
	if l.Partial {
		dst = append(dst, " P "...)
	} else {
		dst = append(dst, " F "...)
	}
	dst = append(dst, l.Text...)
	return append(dst, '\n')
}
