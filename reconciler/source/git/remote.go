package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// What a server may send, and how long it may take.
const (
	maxRefs  = 64 << 20
	maxPack  = 512 << 20
	askTime  = 30 * time.Second
	packTime = 5 * time.Minute
	// objectCache is how much of what was unpacked is kept in memory.
	objectCache = 8 << 20
)

// ErrNoBranch means that the repository has no branch of that name.
var ErrNoBranch = errors.New("the repository has no such branch")

// Remote is a branch of a repository somewhere else, or on this host.
type Remote struct {
	// Location must be complete, and Access have been checked.
	Location Location
	Access   Access
	// Dir is a private directory for what is being fetched. A crash may leave
	// something in it.
	Dir string
}

// server is one conversation with a server of repositories.
type server interface {
	// refs asks which branches there are.
	refs(ctx context.Context) (*packp.AdvRefs, error)
	// pack asks for objects.
	pack(ctx context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error)
	io.Closer
}

// Fetch calls use with the commit that the branch is at, unless that is known
// already, and returns its hash. The commit's objects are there until use returns.
func (r *Remote) Fetch(ctx context.Context, known string, use func(*Commit) error) (hash string, err error) {
	hash, err = r.fetch(ctx, known, use)
	if err != nil {
		return "", plain(err)
	}
	return hash, nil
}

func (r *Remote) fetch(ctx context.Context, known string, use func(*Commit) error) (string, error) {
	u, err := r.Location.parseURL()
	if err != nil {
		return "", err
	}
	var s server
	switch u.Scheme {
	case "file":
		return r.local(u.Path, known, use)
	case "ssh":
		s, err = dialSSH(ctx, u, r.Access)
	default:
		s, err = newHTTP(u, r.Access)
	}
	if err != nil {
		return "", err
	}
	defer s.Close()

	ask, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	refs, err := s.refs(ask)
	if err != nil {
		return "", err
	}
	hash, ok := refs.References["refs/heads/"+r.Location.Branch]
	switch {
	case !ok:
		return "", fmt.Errorf("%w: %s", ErrNoBranch, r.Location.Branch)
	case hash.String() == known:
		return known, nil
	}
	if err := state.MkdirAll(r.Dir); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(r.Dir, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	objects := openStorage(dir)
	defer objects.Close()

	get, cancel := context.WithTimeout(ctx, packTime)
	defer cancel()
	if err := download(get, s, refs.Capabilities, hash, objects); err != nil {
		return "", err
	}
	c, err := readCommit(objects, hash)
	if err != nil {
		return "", err
	}
	return hash.String(), use(c)
}

func openStorage(dir string) *filesystem.Storage {
	return filesystem.NewStorage(osfs.New(dir, osfs.WithBoundOS()), cache.NewObjectLRU(objectCache))
}

// download takes a commit, without its parents, into a storage.
func download(ctx context.Context, s server, can *capability.List, hash plumbing.Hash, into *filesystem.Storage) error {
	req := packp.NewUploadPackRequestFromCapabilities(can)
	req.Wants = []plumbing.Hash{hash}
	if can.Supports(capability.Shallow) {
		if err := req.Capabilities.Set(capability.Shallow); err != nil {
			return err
		}
		req.Depth = packp.DepthCommits(1)
	}
	resp, err := s.pack(ctx, req)
	if err != nil {
		return err
	}
	defer resp.Close()
	var pack io.Reader = resp
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, resp)
	case req.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, resp)
	}
	return packfile.WritePackfileToObjectStorage(bounded{into}, pack)
}

// bounded takes packs of a bounded size.
type bounded struct{ into storer.PackfileWriter }

func (b bounded) PackfileWriter() (io.WriteCloser, error) {
	w, err := b.into.PackfileWriter()
	return &boundedWriter{w, maxPack}, err
}

type boundedWriter struct {
	io.WriteCloser
	left int64
}

func (w *boundedWriter) Write(p []byte) (int, error) {
	if w.left -= int64(len(p)); w.left < 0 {
		return 0, fmt.Errorf("the commit is bigger than %d bytes: keep large files out of this repository", int64(maxPack))
	}
	return w.WriteCloser.Write(p)
}

// maxError bounds what is repeated of a server's words.
const maxError = 400

// plain makes an error fit to be shown: what it says may be the server's.
func plain(err error) error {
	hint := ""
	switch {
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		hint = "the server does not accept these credentials, or wants some (credentials-file)"
	case errors.Is(err, transport.ErrRepositoryNotFound):
		hint = "the server has no such repository, or shows it to others only"
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		hint = "the repository is empty"
	case errors.Is(err, context.DeadlineExceeded):
		hint = "the server takes too long"
	}
	if hint != "" {
		return &Error{hint, err}
	}
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, err.Error())
	if len(text) > maxError {
		text = strings.ToValidUTF8(text[:maxError], "") + "…"
	}
	return &Error{text, err}
}

// Error is an error fit to be shown.
type Error struct {
	text string
	err  error
}

func (e *Error) Error() string { return e.text }
func (e *Error) Unwrap() error { return e.err }
