package printer

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	// gap is what parts two columns.
	gap = 3
	// maxWidth bounds what a column keeps free: a longer cell moves the rest of its
	// own row only.
	maxWidth = 80
)

// Cell is a field of a table.
type Cell struct {
	Text  string
	Color Color
}

// Table writes rows in columns that line up. Rows may be written over time: a
// column keeps the width of the widest cell so far.
type Table struct {
	w      *bufio.Writer
	color  bool
	widths []int
}

// NewTable returns a table that writes to w, with colours if wanted.
func NewTable(w io.Writer, color bool) *Table {
	return &Table{w: bufio.NewWriter(w), color: color}
}

// Header makes a row of column names.
func Header(names ...string) []Cell {
	row := make([]Cell, len(names))
	for i, n := range names {
		row[i] = Cell{n, Bold}
	}
	return row
}

// Write writes rows, which may be of different lengths.
func (t *Table) Write(rows ...[]Cell) error {
	for _, row := range rows {
		for i, c := range row {
			if i == len(t.widths) {
				t.widths = append(t.widths, 0)
			}
			t.widths[i] = max(t.widths[i], min(utf8.RuneCountInString(Sanitize(c.Text)), maxWidth))
		}
	}
	for _, row := range rows {
		t.writeRow(row)
	}
	return t.w.Flush()
}

func (t *Table) writeRow(row []Cell) {
	// Nothing is padded behind the last text of a row.
	last := len(row) - 1
	for last >= 0 && row[last].Text == "" {
		last--
	}
	for i, c := range row[:last+1] {
		text := Sanitize(c.Text)
		if t.color {
			_, _ = t.w.WriteString(Paint(text, c.Color))
		} else {
			_, _ = t.w.WriteString(text)
		}
		if i < last {
			_, _ = t.w.WriteString(strings.Repeat(" ", max(t.widths[i]-utf8.RuneCountInString(text), 0)+gap))
		}
	}
	_ = t.w.WriteByte('\n') // Flush reports errors
}
