package manifests

import (
	"bytes"
	"unicode/utf8"
)

// A chunk is the text of one document and where it stands in its file.
type chunk struct {
	text []byte
	// line is the number of lines before the chunk.
	line int
}

// split cuts a file at the document markers, so that a document that does not
// parse costs the others nothing. YAML allows "---" and "..." at the start of a
// line nowhere but as markers, not even in a block scalar.
func split(data []byte) []chunk {
	var chunks []chunk
	start, startLine := 0, 0
	directives := false // the chunk so far is only a head: "%YAML 1.2", comments
	content := false
	flush := func(end, line int) {
		if content {
			chunks = append(chunks, chunk{text: data[start:end], line: startLine})
		}
		start, startLine, content, directives = end, line, false, false
	}
	for pos, line := 0, 0; pos < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		text := data[pos:end]
		trimmed := bytes.TrimSpace(text)
		switch {
		case isMarker(text, "---"):
			if content || !directives {
				flush(pos, line)
			}
			content = content || !isBlank(trimmed[3:])
			directives = false
		case isMarker(text, "..."):
			flush(end, line+1)
		case len(text) > 0 && text[0] == '%' && !content:
			directives = true
		default:
			content = content || !isBlank(trimmed)
		}
		pos = end
	}
	flush(len(data), 0)
	return chunks
}

func isMarker(line []byte, marker string) bool {
	if !bytes.HasPrefix(line, []byte(marker)) {
		return false
	}
	rest := line[len(marker):]
	return len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r' || rest[0] == '\n'
}

// isBlank reports whether a trimmed line holds nothing but a comment.
func isBlank(trimmed []byte) bool {
	trimmed = bytes.TrimSpace(trimmed)
	return len(trimmed) == 0 || trimmed[0] == '#'
}

// badByte finds the first byte that no text file has: NUL, or what is not
// UTF-8. Lines and columns count from 1.
func badByte(data []byte) (line, column int, message string, found bool) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		line, column = place(data, i)
		return line, column, "a NUL byte: the file is cut off, binary or UTF-16; save it as UTF-8 text", true
	}
	if utf8.Valid(data) {
		return 0, 0, "", false
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size <= 1 {
			line, column = place(data, i)
			break
		}
		i += size
	}
	return line, column, "not UTF-8 text; save the file as UTF-8", true
}

// place turns an offset into a line and a column.
func place(data []byte, offset int) (line, column int) {
	before := data[:offset]
	line = bytes.Count(before, []byte{'\n'}) + 1
	column = utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return line, column
}
