package channel

import (
	"bufio"
	"io"
	"time"

	"github.com/hashicorp/yamux"
)

const (
	// MaxRequestBytes bounds a message to the guest; the largest is Configure,
	// which carries the files of volumes.
	MaxRequestBytes = 16 << 20
	// MaxResponseBytes bounds a message from the guest; the largest are
	// statistics and chunks of output.
	MaxResponseBytes = 1 << 20

	// windowBytes is how much may be under way in gRPC before it is read. Each
	// quarter of it that is read costs a message the other way.
	windowBytes = 4 << 20
	// streamBytes is the same of a stream below it. What is under way is kept in a
	// buffer that grows to twice as much, and fresh memory is dear to a guest.
	streamBytes = 1 << 20
)

// joined reads what the handshake's buffer still holds before the rest.
type joined struct {
	*bufio.Reader
	io.WriteCloser
}

func sessionConfig() *yamux.Config {
	cfg := yamux.DefaultConfig()
	cfg.LogOutput = io.Discard // what matters is the error that a session ends with
	// Either end may be paused for as long as somebody likes, so nothing here may
	// run out of patience. Deadlines are the business of each call.
	cfg.EnableKeepAlive = false
	cfg.StreamOpenTimeout = 0
	cfg.ConnectionWriteTimeout = 24 * time.Hour
	cfg.StreamCloseTimeout = 24 * time.Hour
	cfg.MaxStreamWindowSize = streamBytes
	// One stream carries all calls; a few more are room for a reconnecting gRPC, and
	// for what goes beside it. A hostile end cannot make us hold more than this many
	// windows of streams that it opens.
	cfg.AcceptBacklog = 4
	return cfg
}
