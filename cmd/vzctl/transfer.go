package main

import (
	"io"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/vzreconciler/vzreconciler/internal/printer"
)

// transfer shows how many bytes have passed, on a terminal only.
type transfer struct {
	container *mpb.Progress
	bar       *mpb.Bar
}

func (a *app) newTransfer(quiet bool) *transfer {
	t := &transfer{}
	if quiet || !printer.IsTerminal(a.stderr) {
		return t
	}
	t.container = mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(50))
	t.bar = t.container.AddBar(0, mpb.AppendDecorators(
		decor.CountersKibiByte("% .1f / % .1f"),
		decor.AverageSpeed(decor.SizeB1024(0), "  % .1f"),
	))
	return t
}

// expect takes the number of bytes to come, which is asked for only to be shown.
func (t *transfer) expect(size func() int64) {
	if t.bar != nil {
		t.bar.SetTotal(size(), false)
	}
}

func (t *transfer) add(n int) {
	if t.bar != nil {
		t.bar.IncrBy(n)
	}
}

// end removes the bar.
func (t *transfer) end() {
	if t.bar != nil {
		t.bar.Abort(true)
		t.container.Wait()
	}
}

func (t *transfer) reader(r io.Reader) io.Reader { return &countedReader{r, t} }
func (t *transfer) writer(w io.Writer) io.Writer { return &countedWriter{w, t} }

type countedReader struct {
	r io.Reader
	t *transfer
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.t.add(n)
	return n, err
}

type countedWriter struct {
	w io.Writer
	t *transfer
}

func (c *countedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.t.add(n)
	return n, err
}
