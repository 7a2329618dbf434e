package wire

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestAttachedInputReachesTheProcessAndEndsByItsRule(t *testing.T) {
	for _, once := range []bool{true, false} {
		in := NewSharedInput(once)
		go in.Feed(strings.NewReader("typed"))
		got := make([]byte, 5)
		if _, err := io.ReadFull(in.Reader(t.Context()), got); err != nil || string(got) != "typed" {
			t.Fatalf("read %q, %v", got, err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := in.Reader(t.Context()).Read(got)
			ended <- err
		}()
		if once {
			if err := <-ended; !errors.Is(err, io.EOF) {
				t.Errorf("stdin after its one client left: %v, want its end", err)
			}
			continue
		}
		go in.Feed(strings.NewReader("more!"))
		select {
		case err := <-ended:
			if err != nil || string(got) != "more!" {
				t.Errorf("a second client's input: %q, %v", got, err)
			}
		case <-time.After(10 * time.Second):
			t.Error("a second client's input does not arrive")
		}
		in.Close()
	}
}

func TestInputThatAReaderLeftIsTheNextOnes(t *testing.T) {
	in := NewSharedInput(true)
	first, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := in.Reader(first).Read(make([]byte, 16))
		left <- err
	}()
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatalf("the first reader: %v", err)
	}
	go in.Feed(strings.NewReader("typed"))
	second := in.Reader(t.Context())
	if _, err := io.ReadFull(second, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(in.Reader(t.Context()))
	if err != nil || string(rest) != "ped" {
		t.Errorf("the last reader got %q, %v", rest, err)
	}
}
