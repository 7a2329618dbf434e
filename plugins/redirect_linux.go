package plugins

import (
	"os"

	"golang.org/x/sys/unix"
)

// redirect makes the descriptor fd another one of the file.
func redirect(to *os.File, fd int) error {
	return unix.Dup3(int(to.Fd()), fd, 0)
}
