package wire

import (
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
		if _, err := io.ReadFull(in, got); err != nil || string(got) != "typed" {
			t.Fatalf("read %q, %v", got, err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := in.Read(got)
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
