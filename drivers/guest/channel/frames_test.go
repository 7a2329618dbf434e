package channel

import (
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/yamux"
)

// countingConn counts writes.
type countingConn struct {
	net.Conn
	mu     sync.Mutex
	writes []int
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes = append(c.writes, len(p))
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func TestHeaderGoesWithItsFrame(t *testing.T) {
	a, b := net.Pipe()
	counting := &countingConn{Conn: a}
	client, err := yamux.Client(&frameWriterConn{counting, &frameWriter{WriteCloser: counting}}, sessionConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := yamux.Server(b, sessionConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	want := strings.Repeat("0123456789", 25_000) // fits into the first window
	go func() {
		s, err := client.Open()
		if err != nil {
			t.Error(err)
			return
		}
		for part := range slices.Chunk([]byte(want), grpcWrite) {
			if _, err := s.Write(part); err != nil {
				t.Error(err)
			}
		}
		_ = s.Close()
	}()
	s, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(s)
	if err != nil || string(got) != want {
		t.Fatalf("%d bytes came over, want %d, %v", len(got), len(want), err)
	}
	counting.mu.Lock()
	defer counting.mu.Unlock()
	// Of each frame, what goes with its header, and the rest.
	large := 0
	for _, n := range counting.writes {
		if n > headerBytes {
			large++
		}
		if n > grpcWrite+headerBytes-portWrite {
			t.Errorf("a write of %d bytes", n)
		}
	}
	if parts := (len(want) + grpcWrite - 1) / grpcWrite; large != 2*parts {
		t.Errorf("%d writes for %d parts: %v", large, parts, counting.writes)
	}
}

type frameWriterConn struct {
	io.Reader
	io.WriteCloser
}
