package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// ErrClosed means that the connection ended before the answer came.
var ErrClosed = errors.New("qmp: connection closed")

// sendTimeout bounds how long QEMU may leave a request unread.
const sendTimeout = 5 * time.Second

// Client is one connection to QEMU's monitor. It is safe for concurrent use.
type Client struct {
	conn    net.Conn
	version Version
	onEvent func(Event)

	send sync.Mutex // one request is written at a time

	mu      sync.Mutex
	lastID  uint64
	pending map[uint64]chan *message
	err     error // why reading ended

	done chan struct{}
}

// Connect takes the connection over: it waits for the greeting and leaves
// negotiation mode. onEvent, if not nil, is called for every event, in order,
// by the goroutine that reads: it must return soon and execute no command. The
// client closes conn when reading fails or Close is called.
func Connect(ctx context.Context, conn net.Conn, onEvent func(Event)) (*Client, error) {
	c := &Client{
		conn:    conn,
		onEvent: onEvent,
		pending: map[uint64]chan *message{},
		done:    make(chan struct{}),
	}
	dec := newDecoder(conn)
	// A cancelled context ends the read of the greeting.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	m, err := dec.next()
	if !stop() {
		conn.Close()
		return nil, fmt.Errorf("qmp: wait for the greeting: %w", ctx.Err())
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("qmp: wait for the greeting: %w", err)
	}
	if m.Greeting == nil {
		conn.Close()
		return nil, errors.New("qmp: the first message is no greeting")
	}
	c.version = m.Greeting.Version.QEMU
	go c.read(dec)
	if err := c.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Version returns QEMU's version, from its greeting.
func (c *Client) Version() Version { return c.version }

// Done is closed when the connection has ended and the last event was delivered.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the connection and waits until no more events are delivered.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.done
	return err
}

// Execute runs a command and decodes what it returns into result, unless that
// is nil. A command that QEMU refuses is an *Error.
func (c *Client) Execute(ctx context.Context, command string, arguments, result any) error {
	return c.execute(ctx, command, arguments, result, nil)
}

// ExecuteWithFile runs a command that takes a file, as getfd does: QEMU gets a
// descriptor of its own of it. The connection must be a Unix socket.
func (c *Client) ExecuteWithFile(ctx context.Context, command string, arguments any, file *os.File) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return fmt.Errorf("qmp: %s: %w", command, err)
	}
	var eerr error
	err = raw.Control(func(fd uintptr) {
		eerr = c.execute(ctx, command, arguments, nil, syscall.UnixRights(int(fd)))
	})
	return errors.Join(err, eerr)
}

func (c *Client) execute(ctx context.Context, command string, arguments, result any, rights []byte) error {
	answer := make(chan *message, 1)
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return fmt.Errorf("qmp: %s: %w", command, c.err)
	}
	c.lastID++
	id := c.lastID
	c.pending[id] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.pending, id)
	}()

	if err := c.write(ctx, request{Execute: command, Arguments: arguments, ID: id}, rights); err != nil {
		return fmt.Errorf("qmp: %s: %w", command, err)
	}
	select {
	case m := <-answer:
		return finish(command, m, result)
	case <-c.done:
		// The answer may have been the last thing that came.
		select {
		case m := <-answer:
			return finish(command, m, result)
		default:
			return fmt.Errorf("qmp: %s: %w", command, ErrClosed)
		}
	case <-ctx.Done():
		return fmt.Errorf("qmp: %s: %w", command, ctx.Err())
	}
}

func finish(command string, m *message, result any) error {
	if m.Error != nil {
		m.Error.Command = command
		return m.Error
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.Return, result); err != nil {
		return fmt.Errorf("qmp: %s: unexpected answer: %w", command, err)
	}
	return nil
}

func (c *Client) write(ctx context.Context, r request, rights []byte) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	data = append(data, '\n')
	c.send.Lock()
	defer c.send.Unlock()
	deadline := time.Now().Add(sendTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := c.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if len(rights) > 0 {
		unix, ok := c.conn.(*net.UnixConn)
		if !ok {
			return errors.New("no file can be sent over this connection")
		}
		n, _, err := unix.WriteMsgUnix(data, rights, nil)
		if err != nil {
			return err
		}
		data = data[n:]
	}
	if len(data) > 0 {
		_, err = c.conn.Write(data)
	}
	return err
}

// read delivers answers and events until the stream ends.
func (c *Client) read(dec *decoder) {
	defer close(c.done)
	defer c.conn.Close()
	for {
		m, err := dec.next()
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				err = ErrClosed
			}
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			return
		}
		switch {
		case m.Event != "":
			if c.onEvent != nil {
				c.onEvent(m.event())
			}
		case m.ID != nil:
			c.mu.Lock()
			answer := c.pending[*m.ID]
			delete(c.pending, *m.ID)
			c.mu.Unlock()
			if answer != nil {
				answer <- m // buffered, and this is its only message
			}
		}
	}
}
