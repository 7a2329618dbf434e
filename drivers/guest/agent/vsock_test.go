//go:build linux

package agent

import (
	"errors"
	"io"
	"net"
	"testing"
)

func TestHostThatComesAnewEndsItsLastConnection(t *testing.T) {
	arrivals := make(chan io.ReadWriteCloser)
	gone := errors.New("no more")
	open := newestOf(func() (io.ReadWriteCloser, error) {
		conn, ok := <-arrivals
		if !ok {
			return nil, gone
		}
		return conn, nil
	})
	stale, _ := net.Pipe() // whose other end nobody closes
	arrivals <- stale
	first, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		_, err := first.Read(make([]byte, 1))
		served <- err
	}()
	fresh, other := net.Pipe()
	arrivals <- fresh
	if err := <-served; err == nil {
		t.Error("the stale connection goes on")
	}
	second, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = other.Write([]byte("x")) }()
	if _, err := second.Read(make([]byte, 1)); err != nil {
		t.Errorf("the new connection: %v", err)
	}
	close(arrivals)
	if _, err := open(t.Context()); !errors.Is(err, gone) {
		t.Errorf("the end: %v", err)
	}
}
