package agent

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
)

// read takes all that is there behind seq.
func read(t *testing.T, b *backlog, seq uint64, from position) (out, err string, last uint64) {
	t.Helper()
	pieces, _ := b.after(t.Context(), seq)
	for _, p := range pieces {
		if p.stderr {
			err += string(p.rest(from))
		} else {
			out += string(p.rest(from))
		}
		last = p.seq
	}
	return out, err, last
}

func put(t *testing.T, b *backlog, stderr bool, text string) {
	t.Helper()
	if n, err := b.writer(stderr).Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
}

func TestBacklogGoesOnAtAnyPosition(t *testing.T) {
	b := newBacklog()
	put(t, b, false, "abc")
	put(t, b, true, "123")
	put(t, b, false, "def")
	for _, c := range []struct {
		from     position
		out, err string
	}{
		{position{}, "abcdef", "123"},
		{position{stdout: 4, stderr: 0}, "ef", "123"},
		{position{stdout: 3, stderr: 3}, "def", ""},
		{position{stdout: 6, stderr: 2}, "", "3"},
		{position{stdout: 99, stderr: 99}, "", ""},
	} {
		if out, err, _ := read(t, b, 0, c.from); out != c.out || err != c.err {
			t.Errorf("from %+v: %q, %q, want %q, %q", c.from, out, err, c.out, c.err)
		}
	}
	b.kept(position{stdout: 4, stderr: 3})
	if out, err, _ := read(t, b, 0, position{stdout: 4, stderr: 3}); out != "ef" || err != "" {
		t.Errorf("after some was kept: %q, %q", out, err)
	}
}

func TestBacklogOrdersAndEnds(t *testing.T) {
	b := newBacklog()
	put(t, b, false, "a")
	_, _, seq := read(t, b, 0, position{})
	put(t, b, false, "b")
	if out, _, _ := read(t, b, seq, position{}); out != "b" {
		t.Errorf("behind the first: %q", out)
	}
	b.end()
	pieces, ended := b.after(t.Context(), 99)
	if len(pieces) != 0 || !ended {
		t.Errorf("at the end: %v, %t", pieces, ended)
	}
	if _, err := b.writer(false).Write([]byte("x")); err == nil {
		t.Error("a write after the end succeeds")
	}
}

func TestFullBacklogHoldsTheWriterUntilTheHostHasKeptSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBacklog()
		chunk := strings.Repeat("x", backlogBytes)
		put(t, b, false, chunk)
		written := make(chan struct{})
		go func() {
			defer close(written)
			_, _ = b.writer(true).Write([]byte("more"))
		}()
		synctest.Wait()
		select {
		case <-written:
			t.Fatal("a full backlog takes more")
		default:
		}
		b.kept(position{stdout: backlogBytes})
		<-written
	})
}

func TestWaitForOutputEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := newBacklog()
		got := make(chan int)
		go func() {
			pieces, _ := b.after(ctx, 0)
			got <- len(pieces)
		}()
		synctest.Wait()
		cancel()
		if n := <-got; n != 0 {
			t.Errorf("%d pieces", n)
		}
	})
}
