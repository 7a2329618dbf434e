package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func TestParseDetachKeys(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "ctrl-p,ctrl-q": "\x10\x11", "CTRL-A": "\x01", "ctrl-@,ctrl-[,ctrl-_": "\x00\x1b\x1f", "~,.": "~.", "a,ctrl-a": "a\x01",
	} {
		if got, err := parseDetachKeys(text); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{",", "ctrl-", "ctrl-1", "ab", "ctrl-pq", "\x01", "é", "a,"} {
		if got, err := parseDetachKeys(text); err == nil {
			t.Errorf("%q: %q, want an error", text, got)
		}
	}
}

func TestDetachReaderPassesAllButTheKeys(t *testing.T) {
	for _, tc := range []struct {
		keys, typed, want string
		left              bool
	}{
		{"\x10\x11", "ls\r\x10\x11more", "ls\r", true},
		{"\x10\x11", "\x10ls\x11", "\x10ls\x11", false},
		{"\x10\x11", "\x10\x10\x11", "\x10", true},
		{"aab", "aaab", "a", true},
		{"aab", "aacaa", "aacaa", false}, // held back, and passed on at the end
		{"a", "a", "", true},
		{"abab", "abaabab", "aba", true},
	} {
		for name, r := range map[string]io.Reader{
			"at once":    strings.NewReader(tc.typed),
			"one by one": iotest.OneByteReader(strings.NewReader(tc.typed)),
			"with error": iotest.DataErrReader(strings.NewReader(tc.typed)),
		} {
			left := false
			d := &detachReader{r: r, keys: []byte(tc.keys), left: func() { left = true }}
			got, err := io.ReadAll(d)
			if string(got) != tc.want || left != tc.left || err != nil {
				t.Errorf("%q in %q, %s: %q, left %t, %v", tc.keys, tc.typed, name, got, left, err)
			}
		}
	}
}

func FuzzDetachReader(f *testing.F) {
	f.Add("\x10\x11", "ls\x10\x10\x11")
	f.Add("aab", "aaaab")
	f.Fuzz(func(t *testing.T, keys, typed string) {
		if keys == "" {
			return
		}
		want, _, found := strings.Cut(typed, keys)
		left := false
		d := &detachReader{r: iotest.HalfReader(strings.NewReader(typed)), keys: []byte(keys), left: func() { left = true }}
		if got, _ := io.ReadAll(d); !bytes.Equal(got, []byte(want)) || left != found {
			t.Errorf("%q in %q: %q, left %t", keys, typed, got, left)
		}
	})
}

func TestDetachKeysEndExecAndRestoreTheTerminal(t *testing.T) {
	ended := make(chan struct{})
	b := runs(func(ctx context.Context, _ *api.ExecStart, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
		defer close(ended)
		started(1, time.Now())
		fmt.Fprintln(stdio.Stdout, "up")
		<-ctx.Done()
		return drivers.ExitStatus{}, ctx.Err()
	})
	keyboard, screen, cmd, restored := onTerminal(t, b, "exec", "-it", "--detach-keys=ctrl-p,ctrl-q", "web", "--", "sh")
	if line, err := screen.ReadString('\n'); err != nil || !strings.HasPrefix(line, "up") {
		t.Fatalf("the screen shows %q, %v", line, err)
	}
	if _, err := keyboard.WriteString("\x10\x11"); err != nil {
		t.Fatal(err)
	}
	if got := code(cmd.Wait()); got != exitDone {
		t.Errorf("exit code %d, want 0", got)
	}
	<-ended
	restored()
}
