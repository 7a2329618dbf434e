package manifests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	yaml "sigs.k8s.io/yaml/goyaml.v3"
)

// parseYAML returns the documents of a chunk: one, unless its lines end in a
// way that only YAML's own parser sees.
func parseYAML(c chunk) (docs []*yaml.Node, err *treeError) {
	text := c.text
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' && json.Valid(trimmed) {
		text = unescapeJSON(text)
	}
	docs, perr := decodeYAML(text)
	if perr == nil {
		return docs, nil
	}
	line, message := syntaxLine(text, perr)
	return nil, &treeError{line: line + c.line, column: syntaxColumn(text, line, message), message: "not valid YAML: " + message}
}

// decodeYAML parses all documents of text.
func decodeYAML(text []byte) (docs []*yaml.Node, err error) {
	// The parser reports its errors by panicking inside; should one ever escape
	// it, a file that people wrote must not take the daemon down.
	defer func() {
		if r := recover(); r != nil {
			docs, err = nil, fmt.Errorf("yaml: %v", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc yaml.Node
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return docs, nil
		case err != nil:
			return nil, err
		}
		docs = append(docs, &doc)
		if len(docs) > maxDocuments {
			return nil, fmt.Errorf("yaml: more than %d documents", maxDocuments)
		}
	}
}

var yamlErrorLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))$`)

// syntaxLine finds the line that a syntax error is on. The parser names the
// line on which the surrounding mapping or list begins, which is of little
// help: the line that matters is the first one that brings the error about.
func syntaxLine(text []byte, err error) (line int, message string) {
	line, message = 1, err.Error()
	if m := yamlErrorLine.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		message = m[2]
	}
	lines := bytes.SplitAfter(text, []byte{'\n'})
	lo, hi := min(line, len(lines)), len(lines)
	const searched = 256 << 10 // the search parses the text again and again
	if len(text) > searched {
		hi = lo
	}
	for lo < hi {
		mid := (lo + hi) / 2
		if _, e := decodeYAML(bytes.Join(lines[:mid], nil)); e != nil && e.Error() == err.Error() {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	if lo > 0 && lo <= len(lines) && bytes.HasPrefix(bytes.TrimLeft(lines[lo-1], " "), []byte("\t")) {
		message = "a tab: YAML is indented with spaces"
	}
	switch message {
	case "did not find expected key", "did not find expected '-' indicator", "mapping values are not allowed in this context":
		message += "; is the line indented as its neighbours are?"
	}
	return lo, strings.TrimSuffix(message, "\n")
}

// syntaxColumn finds the column that a syntax error is at: of a bracket or quote
// that is not closed that of the opening one, else the first of the line.
func syntaxColumn(text []byte, line int, message string) int {
	first := firstColumn(text, line)
	switch message {
	case "did not find expected ',' or ']'", "did not find expected ',' or '}'", "did not find expected node content", "found unexpected end of stream":
	default:
		return first
	}
	const (
		searched = 256 << 10
		tries    = 16 // as the text is parsed again and again
	)
	lines := bytes.SplitAfter(text, []byte{'\n'})
	before, rest := bytes.Join(lines[:line-1], nil), lines[line-1]
	openings := 0
	for _, b := range rest {
		if isOpening(b) {
			openings++
		}
	}
	if len(text) > searched || openings > tries {
		return first
	}
	for n := len(rest) - 1; n >= first; n-- {
		if !isOpening(rest[n]) {
			continue
		}
		// Up to here nothing was open.
		if _, err := decodeYAML(slices.Concat(before, rest[:n])); err == nil {
			return n + 1
		}
	}
	return first
}

// isOpening reports a character that may open what is to be closed.
func isOpening(b byte) bool { return b == '[' || b == '{' || b == '"' || b == '\'' }

// firstColumn is the column of the first character of a line that is not blank.
func firstColumn(text []byte, line int) int {
	for range line - 1 {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			return 1
		}
		text = text[i+1:]
	}
	return len(text) - len(bytes.TrimLeft(text, " ")) + 1
}

// unescapeJSON writes out the escapes that JSON has and our YAML parser has not:
// the slash, and characters escaped as two halves.
func unescapeJSON(text []byte) []byte {
	if !bytes.Contains(text, []byte(`\`)) {
		return text
	}
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		switch {
		case text[0] != '\\' || len(text) < 2:
			out, text = append(out, text[0]), text[1:]
		case text[1] == '/':
			out, text = append(out, '/'), text[2:]
		case text[1] == 'u' && len(text) >= 12:
			if r := utf16.DecodeRune(escaped(text), escaped(text[6:])); r != utf8.RuneError {
				out, text = utf8.AppendRune(out, r), text[12:]
				continue
			}
			fallthrough
		default:
			out, text = append(out, text[:2]...), text[2:]
		}
	}
	return out
}

// escaped is the code unit that text begins with as \uXXXX, or 0.
func escaped(text []byte) rune {
	if text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(unit)
}
