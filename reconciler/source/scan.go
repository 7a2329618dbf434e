package source

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// maxDepth bounds how deep directories may be nested.
const maxDepth = 64

// scanner looks at directories. It remembers what it found, to parse only what
// changed, and to hold back what may be the middle of a change.
type scanner struct {
	roots    []string
	settle   time.Duration
	maxBytes int64
	sops     Keys
	parse    func(file string, data []byte, keys manifests.Keys) ([]manifests.Object, []*manifests.Error)
	watch    *watcher // nil: nobody wants to know

	files    map[string]*entry           // by path
	problems map[problem]time.Time       // since when
	missing  map[manifests.Key]time.Time // since when
	keys     map[manifests.Key]bool      // of the last look
	places   map[string]place            // directories, by path
	looks    int

	// Of the current look:
	fence    []string              // what the roots really are: links lead nowhere else
	lasting  map[problem]time.Time // the problems of the last one
	before   map[string]place      // the places of the last one
	now      time.Time
	stamp    string // of the keys
	errors   []*manifests.Error
	found    []string // paths of files
	dirs     []visit
	visited  map[fileID]bool
	complete bool
	blind    bool // a problem that has lasted may hide objects
	moved    bool
	again    time.Time
}

// problem is something wrong with a file or directory as such.
type problem struct {
	path, message string
}

// place is what a directory's path stood for.
type place struct {
	dev   uint64
	files int // manifests in it and below
}

// visit is a directory as it was before it was read.
type visit struct {
	real  string
	id    fileID
	mtime time.Time
}

func newScanner(roots []string, opts Options, watch *watcher) *scanner {
	return &scanner{
		roots: roots, settle: opts.Settle, maxBytes: opts.MaxFileBytes,
		sops: opts.Keys, parse: manifests.ParseWithKeys, watch: watch,
		files:    map[string]*entry{},
		problems: map[problem]time.Time{},
		missing:  map[manifests.Key]time.Time{},
	}
}

// look reads what changed.
func (s *scanner) look(now time.Time) result {
	s.looks++
	s.now, s.stamp, s.errors, s.found, s.dirs = now, s.sops.Stamp(), nil, s.found[:0], s.dirs[:0]
	s.visited, s.complete, s.blind, s.moved, s.again = map[fileID]bool{}, true, false, false, time.Time{}
	s.lasting, s.problems = s.problems, make(map[problem]time.Time, len(s.problems))
	s.before, s.places = s.places, make(map[string]place, len(s.places))

	if s.watch != nil {
		s.watch.begin()
	}
	s.fence = s.fence[:0]
	for _, root := range s.roots {
		if real, _, err := resolve(root); err == nil {
			s.fence = append(s.fence, real)
		}
	}
	for _, root := range s.roots {
		s.root(root)
	}
	if s.watch != nil {
		s.watch.end()
	}
	for _, v := range s.dirs {
		if fi, err := os.Stat(v.real); err != nil || idOf(fi) != v.id || !fi.ModTime().Equal(v.mtime) {
			s.moved = true
			break
		}
	}
	if s.moved {
		s.later(now.Add(s.settle))
	}
	for path, e := range s.files {
		if e.look != s.looks {
			delete(s.files, path)
		}
	}
	slices.Sort(s.found)
	slices.SortFunc(s.errors, func(a, b *manifests.Error) int {
		return cmp.Or(strings.Compare(a.File, b.File), strings.Compare(a.Message, b.Message))
	})
	s.holdMissing()
	return result{fingerprint: s.fingerprint(), again: s.again, moved: s.moved}
}

// snapshot returns what the last look found.
func (s *scanner) snapshot() Snapshot {
	snap := Snapshot{Complete: s.complete, Settling: !s.complete && !s.blind, Time: s.now, Errors: slices.Clone(s.errors)}
	for _, path := range s.found {
		if p := s.files[path].good; p != nil {
			snap.Objects = append(snap.Objects, p.objects...)
			snap.Errors = append(snap.Errors, p.errors...)
		}
	}
	return snap
}

func (s *scanner) fingerprint() fingerprint {
	h := sha256.New()
	fmt.Fprintf(h, "%t %s\n", s.complete, s.stamp)
	for _, e := range s.errors {
		fmt.Fprintf(h, "%q %q\n", e.File, e.Message)
	}
	for _, path := range s.found {
		if p := s.files[path].good; p != nil {
			fmt.Fprintf(h, "%q ", path)
			h.Write(p.hash[:])
		}
	}
	return fingerprint(h.Sum(nil))
}

// root looks at one of the directories that were asked for.
func (s *scanner) root(path string) {
	real, err := s.follow(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.incomplete(path, "the manifests directory does not exist: make it, or mount what should be there")
	case err != nil:
		s.incomplete(path, "cannot look into the manifests directory: "+cause(err))
	default:
		if s.watch != nil {
			// The end of a directory is not told by itself while somebody is in it.
			s.watch.addHop(hop{filepath.Dir(real), filepath.Base(real)})
		}
		s.dir(path, real, nil)
	}
}

// follow resolves a path and watches what that depends on.
func (s *scanner) follow(path string) (string, error) {
	real, hops, err := resolve(path)
	if s.watch == nil {
		return real, err
	}
	// A link may have changed before it was watched: then resolve again.
	for range maxMoved {
		for _, h := range hops {
			s.watch.addHop(h)
		}
		was := real
		if real, hops, err = resolve(path); real == was {
			break
		}
	}
	return real, err
}

// dir looks at a directory, which is named path and really is real, below those
// in above.
func (s *scanner) dir(path, real string, above []fileID) {
	fi, err := os.Stat(real)
	if err != nil {
		s.failed(path, err)
		return
	}
	id := idOf(fi)
	switch {
	case slices.Contains(above, id):
		s.problem(path, "leads back to a directory above it: remove the link")
		return
	case s.visited[id]:
		return // reached in two ways, read in one
	case len(above) >= maxDepth:
		s.incomplete(path, fmt.Sprintf("directories are nested more than %d deep", maxDepth))
		return
	}
	s.visited[id] = true
	// What is made after the directory is watched is told; what was made before
	// is there to be read.
	if s.watch != nil {
		s.watch.addTree(real, id)
	}
	if fi, err = os.Stat(real); err == nil {
		s.dirs = append(s.dirs, visit{real, id, fi.ModTime()})
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		s.failed(path, err)
		return
	}
	above = append(slices.Clip(above), id)
	files := len(s.found)
	defer func() { s.checkMount(path, place{id.dev, len(s.found) - files}) }()
	for _, de := range entries {
		name := de.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		path, real := filepath.Join(path, name), filepath.Join(real, name)
		mode := de.Type()
		if mode == fs.ModeSymlink {
			target, err := s.follow(real)
			if errors.Is(err, fs.ErrNotExist) {
				s.incomplete(path, "is a link to what does not exist")
				continue
			}
			if err != nil {
				s.incomplete(path, cause(err))
				continue
			}
			if !s.inside(target) {
				s.problem(path, "is a link that leads out of the manifests directories, to "+target+": name that directory too, or remove the link")
				continue
			}
			if s.watch != nil {
				s.watch.addHop(hop{filepath.Dir(target), filepath.Base(target)})
			}
			real = target
			fi, err := os.Stat(real)
			if err != nil {
				s.failed(path, err)
				continue
			}
			mode = fi.Mode().Type()
		}
		switch {
		case mode.IsDir():
			s.dir(path, real, above)
		case manifests.IsManifestFile(name):
			s.file(path, real)
		}
	}
}

// inside reports whether a link's target lies in one of the roots. Whoever may
// commit a link must not make the whole host a directory of manifests with it.
func (s *scanner) inside(target string) bool {
	return slices.ContainsFunc(s.fence, func(root string) bool {
		rel, err := filepath.Rel(root, target)
		return err == nil && filepath.IsLocal(rel)
	})
}

// checkMount notes a directory that was emptied by another file system coming
// or going under its path.
func (s *scanner) checkMount(path string, now place) {
	if was := s.before[path]; was.files > 0 && now.files == 0 && was.dev != now.dev {
		s.incomplete(path, "is empty and on another file system than before: mount again what was here")
		now = was
	}
	s.places[path] = now
}

// file looks at a file that is named like a manifest.
func (s *scanner) file(path, real string) {
	fi, err := os.Stat(real)
	if err != nil {
		s.failed(path, err)
		return
	}
	e := s.files[path]
	if e == nil || !e.fresh(stampOf(fi)) || e.keys != s.stamp {
		if err := checkFile(fi, s.maxBytes); err != nil {
			s.failed(path, err)
			return
		}
		data, stamp, err := readFile(real, s.maxBytes)
		switch {
		case errors.Is(err, errChanged) && e != nil:
			s.moved = true // what it held before still counts
		case err != nil:
			s.failed(path, err)
			return
		default:
			e = s.read(path, e, data, stamp)
		}
	}
	e.look = s.looks
	s.found = append(s.found, path)
	s.files[path] = e

	if settled := e.seen.Add(s.settle); len(e.newest.errors) == 0 || s.looks == 1 || !s.now.Before(settled) {
		e.good = e.newest
	} else if e.good != e.newest {
		s.later(settled)
	}
}

// read returns the entry of a file that was read.
func (s *scanner) read(path string, e *entry, data []byte, st stamp) *entry {
	hash := sha256.Sum256(data)
	if e == nil {
		e = &entry{}
	}
	e.stamp, e.read = st, s.now
	if e.newest != nil && e.newest.hash == hash && e.keys == s.stamp {
		return e
	}
	e.keys = s.stamp
	p := &parsed{hash: hash}
	if len(data) == 0 {
		// Hardly ever meant: an editor, a shell's ">", a full disk. Its objects are
		// not to be removed for that.
		p.errors = []*manifests.Error{{
			Position: manifests.Position{File: path},
			Message:  "the file is empty: remove it if what it described is to be removed",
		}}
	} else {
		var objects []manifests.Object
		objects, p.errors = s.parse(path, data, s.sops)
		p.objects = manifests.Pointers(objects)
	}
	if e.newest != nil {
		reuse(p.objects, e.newest.objects)
	}
	e.newest, e.seen = p, s.now
	return e
}

// failed notes that a file or directory could not be read.
func (s *scanner) failed(path string, err error) {
	var unfit fileError
	switch {
	case errors.As(err, &unfit):
		s.problem(path, string(unfit))
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errChanged):
		s.moved = true
	default:
		s.incomplete(path, "cannot be read: "+cause(err))
	}
}

// incomplete notes a problem that may hide objects.
func (s *scanner) incomplete(path, message string) {
	s.complete = false
	if s.problem(path, message) {
		s.blind = true
	}
}

// problem notes something wrong with a file or directory as such. It is only
// told once it has lasted, which it reports.
func (s *scanner) problem(path, message string) (told bool) {
	p := problem{path, message}
	since, ok := s.lasting[p]
	switch {
	case ok:
	case s.looks == 1:
		since = s.now.Add(-s.settle)
	default:
		since = s.now
	}
	s.problems[p] = since
	if settled := since.Add(s.settle); s.now.Before(settled) {
		s.later(settled)
		return false
	}
	s.errors = append(s.errors, &manifests.Error{Position: manifests.Position{File: path}, Message: message})
	return true
}

// holdMissing makes the look incomplete while an object that it misses has been
// missing only for a moment: it may be on its way from one file to another.
func (s *scanner) holdMissing() {
	keys := make(map[manifests.Key]bool, len(s.keys))
	for _, path := range s.found {
		if p := s.files[path].good; p != nil {
			for _, o := range p.objects {
				keys[o.Key] = true
			}
		}
	}
	for key := range s.keys {
		if _, ok := s.missing[key]; !ok && !keys[key] {
			s.missing[key] = s.now
		}
	}
	for key, since := range s.missing {
		settled := since.Add(s.settle)
		switch {
		case keys[key], !s.now.Before(settled):
			delete(s.missing, key)
		default:
			s.later(settled)
		}
	}
	s.keys = keys
}

// later makes the look incomplete until the given time.
func (s *scanner) later(at time.Time) {
	s.complete = false
	if at.After(s.now) {
		s.again = earliest(s.again, at)
	}
}

// cause returns what an error is about without the path, which stands beside it.
func cause(err error) string {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	if errors.Is(err, syscall.ELOOP) {
		return "too many links, or a loop of links"
	}
	return err.Error()
}
