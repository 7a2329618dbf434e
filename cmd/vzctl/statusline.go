package main

import (
	"fmt"
	"io"

	"github.com/vzreconciler/vzreconciler/internal/printer"
)

// statusLine is a line on a terminal that says what is waited for; nowhere else.
type statusLine struct {
	w    io.Writer // nil: no terminal
	text string
}

func newStatusLine(w io.Writer) *statusLine {
	if !printer.IsTerminal(w) {
		return &statusLine{}
	}
	return &statusLine{w: w}
}

// maxStatusLine keeps the text on one line of most terminals.
const maxStatusLine = 76

func (l *statusLine) show(text string) {
	text = printer.Sanitize(text)
	if r := []rune(text); len(r) > maxStatusLine {
		text = string(r[:maxStatusLine-1]) + "…"
	}
	if l.w == nil || text == l.text {
		return
	}
	l.text = text
	fmt.Fprintf(l.w, "\r\x1b[K%s", text)
}

func (l *statusLine) clear() {
	if l.w != nil && l.text != "" {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
	l.text = ""
}
