package linuxvm

import (
	"io"
)

// input is the stdin of a process, which those who are attached share.
type input struct {
	*io.PipeReader

	w    *io.PipeWriter
	once bool
}

func newInput(once bool) *input {
	in := &input{once: once}
	in.PipeReader, in.w = io.Pipe()
	return in
}

// feed passes a client's input on until that ends, or the process does not take
// any more.
func (in *input) feed(r io.Reader) {
	_, _ = io.Copy(in.w, r)
	in.left()
}

// left notes that a client with a stdin has gone, or has no more input.
func (in *input) left() {
	if in.once {
		_ = in.w.Close()
	}
}

// close says that nobody reads any more.
func (in *input) close() {
	if in != nil {
		_ = in.PipeReader.Close()
	}
}
