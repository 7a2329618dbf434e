package drivers

import (
	"fmt"
	"io"
)

// Address is where a connection into a sandbox goes: a TCP port, today. A Unix
// socket in a container would be a further field beside it, and a runtime that
// does not know the field in use answers ErrUnsupported.
type Address struct {
	// Port is a TCP port on the sandbox's loopback, which its containers share. It
	// is tried on IPv4 first, then on IPv6, as clients of "localhost" do.
	Port int `json:"port,omitempty"`
}

// Check returns an ErrInvalidArgument for an address that cannot be one.
func (a Address) Check() error {
	if a.Port < 1 || a.Port > 65535 {
		return fmt.Errorf("%w: port %d is not between 1 and 65535", ErrInvalidArgument, a.Port)
	}
	return nil
}

// String returns the address for people: "port 80".
func (a Address) String() string { return fmt.Sprintf("port %d", a.Port) }

// Conn is a connection into a sandbox. Reading and writing may go on at once,
// and Close ends both from any goroutine. What is not read holds up the writer at
// the other end, and nobody else.
type Conn interface {
	io.ReadWriteCloser
	// CloseWrite ends what is sent, so that the other end reads io.EOF.
	CloseWrite() error
}
