package source

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// fileID tells a file or directory from another that is later found in its place.
type fileID struct {
	dev, ino uint64
}

func statID(path string) (fileID, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return fileID{}, err
	}
	return idOf(fi), nil
}

func idOf(fi fs.FileInfo) fileID {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}
	}
	return fileID{dev: uint64(st.Dev), ino: st.Ino} //nolint:unconvert,gosec // the type of Dev differs by platform
}

// stamp changes whenever a file's content does, but for changes so close to
// each other that the file system's clock does not tell them apart.
type stamp struct {
	id      fileID
	size    int64
	mtime   time.Time
	changed time.Time // ctime
}

func stampOf(fi fs.FileInfo) stamp {
	return stamp{idOf(fi), fi.Size(), fi.ModTime(), changeTime(fi)}
}

// last returns when the file was last touched.
func (s stamp) last() time.Time {
	if s.changed.After(s.mtime) {
		return s.changed
	}
	return s.mtime
}

// racy is how close to a look a file may have been touched for its stamp not to
// prove that it is the same: coarse clocks tick every 2 s (FAT), most every 4 ms.
const racy = 2 * time.Second

// entry is what is known of one manifest file.
type entry struct {
	stamp stamp
	// read is when the content was last read, seen when it was first found so.
	read, seen time.Time
	newest     *parsed
	// good is the last content without errors, or whose errors are believed: it
	// counts as long as a newer one may be half written. Nil: there is none yet.
	good *parsed
	look int    // the look that last found the file
	keys string // the stamp of the keys that were there when it was last read
}

// parsed is a file's content turned into objects.
type parsed struct {
	hash    [sha256.Size]byte
	objects []*manifests.Object
	errors  []*manifests.Error
}

// reuse has objects that are written as they were share what was parsed then: who
// knows them would else keep it in memory beside what was parsed now.
func reuse(objects, before []*manifests.Object) {
	old := make(map[manifests.Key]*manifests.Object, len(before))
	for _, o := range before {
		old[o.Key] = o
	}
	for _, o := range objects {
		was := old[o.Key]
		// A path in it may be relative to the file.
		if was != nil && was.Sandbox != nil && was.APIVersion == o.APIVersion && was.Kind == o.Kind &&
			was.Position.File == o.Position.File && bytes.Equal(was.Manifest, o.Manifest) {
			o.Manifest, o.Sandbox = was.Manifest, was.Sandbox
		}
	}
}

// fresh reports whether the file with that stamp still has the content that was read.
func (e *entry) fresh(s stamp) bool {
	return e.stamp == s && e.read.Sub(s.last()) > racy
}

var errChanged = errors.New("changed while it was read")

// fileError is what makes a file unfit to be a manifest, whatever it holds.
type fileError string

func (e fileError) Error() string { return string(e) }

// readFile reads a regular file of at most limit bytes. It cannot be made to
// wait by a file that is something else.
func readFile(path string, limit int64) ([]byte, stamp, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0) //nolint:gosec // reading manifests is what we are for
	if err != nil {
		return nil, stamp{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, stamp{}, err
	}
	before := stampOf(fi)
	if err := checkFile(fi, limit); err != nil {
		return nil, before, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, before, err
	}
	fi, err = f.Stat()
	if err != nil {
		return nil, before, err
	}
	if stampOf(fi) != before || int64(len(data)) != before.size {
		return nil, before, errChanged
	}
	return data, before, nil
}

// checkFile reports what makes a file unfit to be a manifest.
func checkFile(fi fs.FileInfo, limit int64) error {
	switch {
	case !fi.Mode().IsRegular():
		return fileError("not a regular file but " + describe(fi.Mode()) + ": remove or rename it")
	case fi.Size() > limit:
		return fileError(fmt.Sprintf("too big: %d bytes, a manifest file may have %d: split it", fi.Size(), limit))
	}
	return nil
}

func describe(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeNamedPipe:
		return "a named pipe"
	case fs.ModeSocket:
		return "a socket"
	case fs.ModeDir:
		return "a directory"
	}
	return "a device"
}
