package crilog

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
)

// rotate starts a new file. The new one is made before the old one is moved: if
// there is no room even for that, the log goes on in the old file. Nothing is
// written to the old file once the new one has its name.
func (w *Writer) rotate() {
	tmp := w.path + ".new"
	f, err := w.open(tmp, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		w.rotateFailed(err)
		return
	}
	for i := w.opts.Backups; i > 0; i-- {
		if err := os.Rename(backup(w.path, i-1), backup(w.path, i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.rotateFailed(errors.Join(err, f.Close(), os.Remove(tmp)))
			return
		}
	}
	if err := os.Rename(tmp, w.path); err != nil {
		w.rotateFailed(errors.Join(err, f.Close()))
		return
	}
	_ = w.f.Close() // every entry was written, or noted as lost
	w.f, w.size, w.torn = f, 0, false
	w.noteFile()
}

func (w *Writer) rotateFailed(err error) {
	if w.lost == nil {
		w.lost = err
	}
}

// backup names the nth file before the one at path; the 0th is that itself.
func backup(path string, n int) string {
	if n == 0 {
		return path
	}
	return path + "." + strconv.Itoa(n)
}
