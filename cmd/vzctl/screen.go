package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/vzreconciler/vzreconciler/internal/printer"
)

// What a terminal obeys.
const (
	clearScreen = "\x1b[2J"
	toTheTop    = "\x1b[H"
	clearLine   = "\x1b[K" // from the cursor on
	clearBelow  = "\x1b[J"
	hideCursor  = "\x1b[?25l"
	showCursor  = "\x1b[?25h"
	noWrap      = "\x1b[?7l"
	wrap        = "\x1b[?7h"
)

// screen shows tables in one place. Nothing is cleared that is written again at
// once, and all is written in one go: so it does not flicker.
type screen struct {
	w     io.Writer
	color bool
	// height returns how many lines there are; 0 if nobody knows.
	height func() int
	begun  bool
}

func newScreen(w io.Writer, color bool) *screen {
	return &screen{w: w, color: color, height: func() int {
		f, ok := w.(*os.File)
		if !ok {
			return 0
		}
		_, height, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0
		}
		return height
	}}
}

// show puts a table in place of the one before. Rows that there is no room for
// are counted in the last line.
func (s *screen) show(rows [][]printer.Cell) error {
	left := 0
	if room := s.height() - 1; room >= 2 && len(rows) > room {
		left = len(rows) - (room - 1)
		rows = rows[:room-1]
	}
	var text bytes.Buffer
	if err := printer.NewTable(&text, s.color).Write(rows...); err != nil {
		return err
	}
	if left > 0 {
		fmt.Fprintf(&text, "and %d more\n", left)
	}
	var out bytes.Buffer
	if !s.begun {
		out.WriteString(hideCursor + noWrap + clearScreen)
		s.begun = true
	}
	out.WriteString(toTheTop)
	out.Write(bytes.ReplaceAll(text.Bytes(), []byte("\n"), []byte(clearLine+"\n")))
	out.WriteString(clearBelow)
	_, err := s.w.Write(out.Bytes())
	return err
}

// close gives the terminal back.
func (s *screen) close() {
	if s.begun {
		_, _ = io.WriteString(s.w, wrap+showCursor) // there is nothing else to try
	}
}
