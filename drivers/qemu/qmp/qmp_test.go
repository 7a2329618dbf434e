package qmp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}` + "\r\n"

// qemu is the other end: it greets, then answers each request with what reply
// returns, one line or several.
func qemu(t *testing.T, reply func(command string, id uint64) string) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer theirs.Close()
		if _, err := io.WriteString(theirs, greeting); err != nil {
			return
		}
		lines := bufio.NewScanner(theirs)
		for lines.Scan() {
			var r request
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Errorf("not a request: %s", lines.Bytes())
				return
			}
			answer := fmt.Sprintf("{\"return\": {}, \"id\": %d}\n", r.ID)
			if r.Execute != "qmp_capabilities" {
				answer = reply(r.Execute, r.ID)
			}
			if answer == "" {
				return
			}
			if _, err := io.WriteString(theirs, answer); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { ours.Close(); wg.Wait() })
	return ours
}

func TestCommandsAreAnsweredAndEventsDeliveredInOrder(t *testing.T) {
	events := make(chan Event, 4)
	conn := qemu(t, func(command string, id uint64) string {
		return `{"timestamp": {"seconds": 10, "microseconds": 5}, "event": "STOP"}` + "\n" +
			`{"timestamp": {"seconds": 11, "microseconds": 0}, "event": "SHUTDOWN", "data": {"reason": "guest-reset"}}` + "\n" +
			fmt.Sprintf(`{"return": {"running": true, "command": %q}, "id": %d}`, command, id) + "\n"
	})
	c, err := Connect(t.Context(), conn, func(e Event) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.Version().String(); got != "7.2.22" {
		t.Errorf("version %q", got)
	}
	var result struct {
		Running bool
		Command string
	}
	if err := c.Execute(t.Context(), "query-status", nil, &result); err != nil {
		t.Fatal(err)
	}
	if !result.Running || result.Command != "query-status" {
		t.Errorf("result %+v", result)
	}
	stop, shutdown := <-events, <-events
	if stop.Name != "STOP" || !stop.Time.Equal(time.Unix(10, 5000)) {
		t.Errorf("first event %+v", stop)
	}
	if shutdown.Name != "SHUTDOWN" || !strings.Contains(string(shutdown.Data), "guest-reset") {
		t.Errorf("second event %+v", shutdown)
	}
}

func TestRefusedCommandTellsWhy(t *testing.T) {
	conn := qemu(t, func(_ string, id uint64) string {
		return fmt.Sprintf(`{"id": %d, "error": {"class": "CommandNotFound", "desc": "no such command"}}`, id) + "\n"
	})
	c, err := Connect(t.Context(), conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Execute(t.Context(), "nonsense", nil, nil)
	var refused *Error
	if !errors.As(err, &refused) || refused.Class != "CommandNotFound" || refused.Command != "nonsense" {
		t.Fatalf("error %v", err)
	}
}

func TestCommandFailsWhenQEMUGoes(t *testing.T) {
	c, err := Connect(t.Context(), qemu(t, func(string, uint64) string { return "" }), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // under way, and afterwards
		if err := c.Execute(t.Context(), "stop", nil, nil); !errors.Is(err, ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
			t.Fatalf("error %v, want that of a closed connection", err)
		}
		<-c.Done()
	}
}

func TestContextEndsWaiting(t *testing.T) {
	t.Run("for the greeting", func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := Connect(ctx, ours, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("for an answer", func(t *testing.T) {
		conn := qemu(t, func(string, uint64) string { return `{"event": "RESUME"}` + "\n" })
		c, err := Connect(t.Context(), conn, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := c.Execute(ctx, "stop", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		if len(c.pending) != 0 {
			t.Error("the request is still waited for")
		}
	})
}

func TestDecoderRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"a line too long":     `{"event": "` + strings.Repeat("x", MaxLine) + `"}` + "\n",
		"half a line":         `{"event": "STOP"`,
		"no JSON":             "hello\n",
		"another value":       "[1]\n",
		"nothing known":       `{"id": 1}` + "\n",
		"two kinds in one":    `{"event": "STOP", "return": {}}` + "\n",
		"an id that is no id": `{"return": {}, "id": "x"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			if m, err := newDecoder(strings.NewReader(in)).next(); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("got %+v and error %v, want an error", m, err)
			}
		})
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte(greeting))
	f.Add([]byte(`{"return": {}, "id": 1}` + "\n" + `{"event": "STOP", "timestamp": {"seconds": 1}}` + "\n"))
	f.Add([]byte(`{"error": {"class": "GenericError", "desc": "d"}, "id": 2}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newDecoder(bytes.NewReader(data))
		for n := 0; ; n++ {
			m, err := d.next()
			if err != nil {
				return
			}
			if m == nil || n > len(data) {
				t.Fatal("a message out of nothing")
			}
		}
	})
}

func TestFileGoesWithItsCommand(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "qmp"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		defer close(got)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, greeting)
		unix := conn.(*net.UnixConn)
		buf, oob := make([]byte, 4096), make([]byte, 64)
		for id := 1; ; id++ {
			_, n, _, _, err := unix.ReadMsgUnix(buf, oob)
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "{\"return\": {}, \"id\": %d}\n", id)
			if n == 0 {
				continue
			}
			messages, _ := syscall.ParseSocketControlMessage(oob[:n])
			fds, _ := syscall.ParseUnixRights(&messages[0])
			f := os.NewFile(uintptr(fds[0]), "passed")
			text, _ := io.ReadAll(f)
			f.Close()
			got <- string(text)
			return
		}
	}()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := Connect(t.Context(), conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := c.ExecuteWithFile(t.Context(), "getfd", map[string]any{"fdname": "x"}, f); err != nil {
		t.Fatal(err)
	}
	if text := <-got; text != "content" {
		t.Errorf("the file that came has %q", text)
	}
}

func TestFileNeedsASocket(t *testing.T) {
	c, err := Connect(t.Context(), qemu(t, func(string, uint64) string { return "" }), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.ExecuteWithFile(t.Context(), "getfd", nil, os.Stdin); err == nil {
		t.Error("a file went over a pipe")
	}
}
