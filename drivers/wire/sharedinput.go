package wire

import "io"

// SharedInput is the stdin of a process that clients attach to: what they type
// becomes one stream.
type SharedInput struct {
	r    *io.PipeReader
	w    *io.PipeWriter
	once bool
}

// NewSharedInput returns a stdin that ends with Close, or, with once, when the
// first client leaves.
func NewSharedInput(once bool) *SharedInput {
	in := &SharedInput{once: once}
	in.r, in.w = io.Pipe()
	return in
}

// Read is the process's.
func (in *SharedInput) Read(p []byte) (int, error) { return in.r.Read(p) }

// Feed passes a client's input on until that ends, or the process takes no more.
func (in *SharedInput) Feed(client io.Reader) {
	_, _ = io.Copy(in.w, client)
	in.Left()
}

// Left says that a client has gone, or has no more input.
func (in *SharedInput) Left() {
	if in.once {
		_ = in.w.Close()
	}
}

// Close says that nobody reads any more. A nil SharedInput has nothing to close.
func (in *SharedInput) Close() {
	if in != nil {
		_ = in.r.Close()
	}
}
