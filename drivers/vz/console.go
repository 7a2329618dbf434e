package vz

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// lastWords is how long a console is read after its end, should the framework
// still hold it open.
const lastWords = time.Second

// console joins the guest's serial console to a writer. The framework takes
// descriptors, and a file of its own would grow without bound.
type console struct {
	// output is where the framework writes what the guest prints; input is where it
	// reads what the guest is to be told, which is nothing: silence, neither holds
	// anything nor ends. All stay open, and referenced, as long as the machine is.
	output, input, silence *os.File
	printed                *os.File
	done                   chan struct{}
}

// newConsole copies what is written to output to w, until close.
func newConsole(w io.Writer) (*console, error) {
	printed, output, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the console's pipe: %w", err)
	}
	input, silence, err := os.Pipe()
	if err != nil {
		printed.Close()
		output.Close()
		return nil, fmt.Errorf("make the console's pipe: %w", err)
	}
	if w == nil {
		w = io.Discard
	}
	c := &console{output: output, input: input, silence: silence, printed: printed, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer c.printed.Close()
		buf := make([]byte, 4<<10)
		for {
			n, err := c.printed.Read(buf)
			if n > 0 {
				_, _ = w.Write(buf[:n]) // a console that cannot be written must not stop the guest
			}
			if err != nil {
				return
			}
		}
	}()
	return c, nil
}

// close ends the console. What was printed before has been copied when it returns.
func (c *console) close() {
	_ = errors.Join(c.output.Close(), c.input.Close(), c.silence.Close(),
		c.printed.SetReadDeadline(time.Now().Add(lastWords)))
	<-c.done
}
