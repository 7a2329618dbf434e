package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// logsView is what of the logs is shown, and how.
type logsView struct {
	req        api.LogsRequest // but for the object, and the container if all are meant
	all        bool
	prefix     bool
	timestamps bool
}

func (v *logsView) setSince(since, sinceTime string) error {
	switch {
	case since != "" && sinceTime != "":
		return usagef("give --since or --since-time, not both")
	case sinceTime != "":
		t, err := time.Parse(time.RFC3339, sinceTime)
		if err != nil {
			return usagef("--since-time=%s: want a time as 2026-11-23T17:51:18Z", sinceTime)
		}
		v.req.Since = timestamppb.New(t)
	case since != "":
		t, err := parseSince(time.Now(), since)
		if err != nil {
			return err
		}
		v.req.Since = timestamppb.New(t)
	}
	return nil
}

func (v *logsView) check() error {
	switch {
	case v.all && v.req.GetContainer() != "":
		return usagef("give --container or --all-containers, not both")
	case v.req.GetConsole() && (v.all || v.req.GetPrevious()):
		return usagef("the console is the VM's: it goes with neither --all-containers nor --previous")
	}
	return nil
}

// requests returns a request for each log.
func (v *logsView) requests(ctx context.Context, client *api.Client, refs []*api.Ref) ([]*api.LogsRequest, error) {
	var reqs []*api.LogsRequest
	add := func(ref *api.Ref, container string) {
		req, _ := proto.Clone(&v.req).(*api.LogsRequest)
		req.Object, req.Container = ref, container
		reqs = append(reqs, req)
	}
	for _, ref := range refs {
		if !v.all {
			add(ref, v.req.GetContainer())
			continue
		}
		o, err := getSandbox(ctx, client, ref)
		if err != nil {
			return nil, err
		}
		for _, name := range o.containers() {
			add(ref, name)
		}
	}
	return reqs, nil
}

// logs shows one log after the other, or, when it follows them, all at once.
func (a *app) logs(ctx context.Context, client *api.Client, reqs []*api.LogsRequest, v *logsView) error {
	var mu sync.Mutex
	if !v.req.GetFollow() || len(reqs) == 1 {
		for _, req := range reqs {
			if err := a.log(ctx, client, req, v, &mu); err != nil {
				return err
			}
		}
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan error, len(reqs))
	for _, req := range reqs {
		go func() { ends <- a.log(ctx, client, req, v, &mu) }()
	}
	var first error
	for range reqs {
		if err := <-ends; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

// log shows one log. mu keeps its lines apart from those of others.
func (a *app) log(ctx context.Context, client *api.Client, req *api.LogsRequest, v *logsView, mu *sync.Mutex) error {
	stream, err := client.Logs(ctx, req)
	if err != nil {
		return err
	}
	stdout, stderr := a.stdout, a.stderr
	if v.prefix {
		name := refName(req.GetObject())
		if req.GetContainer() != "" {
			name += "/" + req.GetContainer()
		}
		outs := [2]*prefixer{{w: stdout, mu: mu, prefix: "[" + name + "] "}, {w: stderr, mu: mu, prefix: "[" + name + "] "}}
		defer outs[0].flush()
		defer outs[1].flush()
		stdout, stderr = outs[0], outs[1]
	}
	var out io.WriteCloser = nopCloser{stdout}
	if !req.GetConsole() {
		out = &logDecoder{stdout: stdout, stderr: stderr, timestamps: v.timestamps}
	}
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return errors.Join(out.Close(), err)
		}
		if _, err := out.Write(piece.GetData()); err != nil {
			return err
		}
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// maxPrefixed bounds what is held of a line that has not ended; a longer one is
// shown as several.
const maxPrefixed = 64 << 10

// prefixer writes whole lines with something before each.
type prefixer struct {
	w      io.Writer
	mu     *sync.Mutex // of w
	prefix string
	rest   []byte
}

// Write takes text, cut anywhere.
func (p *prefixer) Write(text []byte) (int, error) {
	p.rest = append(p.rest, text...)
	for {
		i := bytes.IndexByte(p.rest, '\n')
		if i < 0 {
			break
		}
		if err := p.line(p.rest[:i]); err != nil {
			return 0, err
		}
		p.rest = p.rest[i+1:]
	}
	if len(p.rest) > maxPrefixed {
		p.flush()
	}
	return len(text), nil
}

func (p *prefixer) line(text []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]byte, 0, len(p.prefix)+len(text)+1)
	out = append(append(append(out, p.prefix...), text...), '\n')
	_, err := p.w.Write(out)
	return err
}

// flush writes what is left of a line that did not end.
func (p *prefixer) flush() {
	if len(p.rest) > 0 {
		_ = p.line(p.rest) // the stream's own error counts
		p.rest = nil
	}
}
