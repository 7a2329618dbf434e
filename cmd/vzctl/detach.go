package main

import (
	"bytes"
	"io"
	"strings"
)

// parseDetachKeys reads "ctrl-p,ctrl-q": keys, or ctrl- with a letter or one of
// @[\]^_, parted by commas. The empty text is no keys.
func parseDetachKeys(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	var keys []byte
	for key := range strings.SplitSeq(text, ",") {
		name, ctrl := strings.CutPrefix(strings.ToLower(key), "ctrl-")
		switch {
		case ctrl && len(name) == 1 && (name[0] >= 'a' && name[0] <= 'z'):
			keys = append(keys, name[0]-'a'+1)
		case ctrl && len(name) == 1 && strings.ContainsAny(name, `@[\]^_`):
			keys = append(keys, name[0]-'@')
		case !ctrl && len(key) == 1 && key[0] > ' ' && key[0] < 0x7f:
			keys = append(keys, key[0])
		default:
			return nil, usagef(`--detach-keys=%s: want keys as a or ctrl-a, parted by commas`, text)
		}
	}
	return keys, nil
}

// detachReader passes on what a user types until the keys to leave by are typed,
// one after the other. They are not passed on: left is called, and nothing more
// is read. What may be the beginning of the keys is held back until it is not.
type detachReader struct {
	r    io.Reader
	keys []byte // at least one
	left func()

	held []byte // typed, and equal to the beginning of keys
	out  []byte // to be passed on
	err  error
}

func (d *detachReader) Read(p []byte) (int, error) {
	for len(d.out) == 0 && d.err == nil {
		buf := make([]byte, max(len(p), 1))
		n, err := d.r.Read(buf)
		for _, c := range buf[:n] {
			if d.take(c); d.err != nil {
				break
			}
		}
		if err != nil && d.err == nil {
			d.out, d.held = append(d.out, d.held...), nil
			d.err = err
		}
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	if len(d.out) > 0 || n > 0 {
		return n, nil
	}
	return 0, d.err
}

func (d *detachReader) take(c byte) {
	d.held = append(d.held, c)
	for !bytes.HasPrefix(d.keys, d.held) {
		d.out, d.held = append(d.out, d.held[0]), d.held[1:]
	}
	if len(d.held) == len(d.keys) {
		d.held, d.err = nil, io.EOF
		d.left()
	}
}
