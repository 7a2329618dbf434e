package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// resumer is a transport whose downloads go on where they broke off, if the server
// can do that, and end when nothing arrives any more.
type resumer struct {
	next     http.RoundTripper
	patience patience
}

// worthwhile is how much a download must get further for its failures before that
// to be forgotten.
const worthwhile = 64 << 10

// RoundTrip implements http.RoundTripper.
func (t *resumer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet || req.Header.Get("Range") != "" {
		return t.next.RoundTrip(req)
	}
	d := &download{transport: t, req: req}
	resp, err := d.begin(req)
	if err != nil {
		return nil, err
	}
	resp.Body = d
	return resp, nil
}

// download is the body of an answer.
type download struct {
	transport *resumer
	req       *http.Request

	body   io.ReadCloser
	timer  *time.Timer
	cancel context.CancelCauseFunc
	ctx    context.Context //nolint:containedctx // of the request that body is of

	offset   int64 // of the next byte
	failures int
	failedAt int64 // offset of the first of them
	err      error // what the body ended with, if it gave bytes too
}

// begin sends a request whose answer the download is to read next.
func (d *download) begin(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := d.transport.next.RoundTrip(req.WithContext(ctx)) //nolint:bodyclose // closed by Close
	if err != nil {
		cancel(nil)
		return nil, err
	}
	d.ctx, d.cancel, d.body = ctx, cancel, resp.Body
	d.timer = time.AfterFunc(d.transport.patience.stall, func() { cancel(errStalled) })
	return resp, nil
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	for {
		if d.err == nil {
			d.timer.Reset(d.transport.patience.stall)
			n, err := d.body.Read(p)
			d.offset += int64(n)
			d.err = stalled(d.ctx, err)
			if n > 0 || d.err == nil {
				return n, nil
			}
		}
		if errors.Is(d.err, io.EOF) || !d.resume() {
			return 0, d.err
		}
	}
}

// resume asks for the rest. It reports whether that comes.
func (d *download) resume() bool {
	backoff := d.transport.patience.backoff
	if d.offset-d.failedAt >= worthwhile {
		d.failures = 0
	}
	if !transient(d.err) || d.offset == 0 || d.failures >= len(backoff) {
		return false
	}
	if d.failures == 0 {
		d.failedAt = d.offset
	}
	d.end()
	timer := time.NewTimer(backoff[d.failures])
	defer timer.Stop()
	d.failures++
	select {
	case <-d.req.Context().Done():
		return false
	case <-timer.C:
	}
	req := d.req.Clone(d.req.Context())
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.offset))
	resp, err := d.begin(req) //nolint:bodyclose // closed by Close
	if err != nil {
		// The next try is this one's successor.
		return transient(err) && d.resume()
	}
	if resp.StatusCode != http.StatusPartialContent || !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.offset)) {
		return false
	}
	d.err = nil
	return true
}

func (d *download) end() {
	d.timer.Stop()
	d.cancel(nil)
	_ = d.body.Close() // What it has to say was said by Read.
}

// Close implements io.Closer.
func (d *download) Close() error {
	d.end()
	return nil
}

// stalled returns errStalled in place of the error that it caused.
func stalled(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}
