package state

import (
	"fmt"
	"os"
	"syscall"
)

// MkdirOwn makes a directory as MkdirAll does, where strangers may have been
// before (/tmp): one that is there already must be a directory, not a link, of
// this user, in which nobody else can write.
func MkdirOwn(dir string) error {
	if err := MkdirAll(dir); err != nil {
		return err
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !fi.IsDir():
		return fmt.Errorf("%s is not a directory: remove it", dir)
	case !ok || int(st.Uid) != os.Getuid():
		return fmt.Errorf("%s belongs to another user: have it removed", dir)
	case fi.Mode()&0o022 != 0:
		return fmt.Errorf("%s can be written by others (mode %04o): remove it", dir, fi.Mode().Perm())
	}
	return nil
}
