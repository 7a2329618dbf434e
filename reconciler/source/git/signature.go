package git

import (
	"bytes"
	"errors"
)

// errUnsigned means that a commit has no signature.
var errUnsigned = errors.New("it is not signed")

// splitSignature separates a commit's signature from what it signs, which is the
// commit without it. Git keeps it in the header "gpgsig", whatever made it.
func splitSignature(raw []byte) (payload, signature []byte, err error) {
	header, _, _ := bytes.Cut(raw, []byte("\n\n"))
	inside, found := false, 0
	for line := range bytes.Lines(raw[:min(len(header)+1, len(raw))]) {
		value, begins := bytes.CutPrefix(line, []byte("gpgsig "))
		switch {
		case begins:
			inside = true
			found++
			signature = append(signature, value...)
		case inside && line[0] == ' ':
			signature = append(signature, line[1:]...)
		case bytes.HasPrefix(line, []byte("gpgsig")):
			return nil, nil, errors.New("its signature is of a kind that is not supported")
		default:
			inside = false
			payload = append(payload, line...)
		}
	}
	switch found {
	case 0:
		return nil, nil, errUnsigned
	case 1:
		return append(payload, raw[min(len(header)+1, len(raw)):]...), signature, nil
	}
	return nil, nil, errors.New("it has several signatures")
}
