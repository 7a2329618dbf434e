package printer

import (
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// Color is how a piece of text is set off on a terminal.
type Color string

// The colours.
const (
	Plain  Color = ""
	Green  Color = "32"
	Yellow Color = "33"
	Red    Color = "31"
	Bold   Color = "1"
	Faint  Color = "2"
)

// Paint returns text in a colour.
func Paint(text string, c Color) string {
	if c == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// WantsColor reports whether colours go to w: it is a terminal that has them,
// and NO_COLOR (see no-color.org) is not set.
func WantsColor(w io.Writer, getenv func(string) string) bool {
	return IsTerminal(w) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// Sanitize returns text with its control characters, line ends among them, made
// visible as Go writes them: "\x1b", "\n".
func Sanitize(text string) string {
	if strings.IndexFunc(text, isControl) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if isControl(r) {
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// isControl finds control characters and those that change the direction of the
// text after them.
func isControl(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}
