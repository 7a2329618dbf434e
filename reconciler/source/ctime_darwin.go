package source

import (
	"io/fs"
	"syscall"
	"time"
)

// changeTime returns when the file's content or attributes last changed.
func changeTime(fi fs.FileInfo) time.Time {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctimespec.Unix())
	}
	return fi.ModTime()
}
