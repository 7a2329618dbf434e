package edit

import "bytes"

// chunk is one document in a file: from its marker, or the file's beginning, up
// to the marker of the next.
type chunk struct {
	start, end int
	line       int // of its beginning, from 1
}

// split cuts a file at its "---" markers. Every byte is in one chunk.
func split(data []byte) []chunk {
	chunks := []chunk{{line: 1}}
	directives := false // the chunk has nothing yet but "%YAML" and the like
	for pos, line := 0, 1; pos < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		text := data[pos:end]
		last := &chunks[len(chunks)-1]
		switch {
		case isMarker(text) && directives:
			directives = false
		case isMarker(text) && pos > last.start:
			last.end = pos
			chunks = append(chunks, chunk{start: pos, line: line})
		case text[0] == '%' && blank(data[last.start:pos]):
			directives = true
		}
		pos = end
	}
	chunks[len(chunks)-1].end = len(data)
	return chunks
}

// isMarker reports whether a line begins a document.
func isMarker(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}

// blank reports whether there is nothing but blanks and comments.
func blank(text []byte) bool {
	for line := range bytes.Lines(text) {
		if t := bytes.TrimSpace(line); len(t) > 0 && t[0] != '#' {
			return false
		}
	}
	return true
}
