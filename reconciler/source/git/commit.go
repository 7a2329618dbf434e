package git

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// maxCommit bounds a commit's own text: its message and signature.
const maxCommit = 1 << 20

// Commit is a commit and, as long as they are there, its files.
type Commit struct {
	// Hash in hexadecimal.
	Hash string
	// Author as "NAME <ADDRESS>", bounded and free of control characters.
	Author string
	// Time is when it was committed.
	Time time.Time
	// Raw is the commit as git keeps it, its signature included.
	Raw []byte

	tree    plumbing.Hash
	objects storer.EncodedObjectStorer
}

// readCommit reads a commit from a storage.
func readCommit(objects storer.EncodedObjectStorer, hash plumbing.Hash) (*Commit, error) {
	o, err := objects.EncodedObject(plumbing.CommitObject, hash)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", hash, err)
	}
	if o.Size() > maxCommit {
		return nil, fmt.Errorf("commit %s: its message has %d bytes; %d are the most", hash, o.Size(), maxCommit)
	}
	r, err := o.Reader()
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", hash, err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", hash, err)
	}
	c, err := DecodeCommit(raw)
	if err != nil {
		return nil, err
	}
	c.objects = objects
	return c, nil
}

// DecodeCommit reads a commit's own text. Its files are not to be had.
func DecodeCommit(raw []byte) (*Commit, error) {
	o := &plumbing.MemoryObject{}
	o.SetType(plumbing.CommitObject)
	if _, err := o.Write(raw); err != nil {
		return nil, err
	}
	var c object.Commit
	if err := c.Decode(o); err != nil {
		return nil, fmt.Errorf("read a commit: %w", err)
	}
	return &Commit{
		Hash:   o.Hash().String(),
		Author: fmt.Sprintf("%s <%s>", printable(c.Author.Name), printable(c.Author.Email)),
		Time:   c.Committer.When.UTC(),
		Raw:    raw,
		tree:   c.TreeHash,
	}, nil
}

// Short returns the part of the hash that people read.
func (c *Commit) Short() string { return c.Hash[:min(len(c.Hash), 7)] }

// printable bounds a text of strangers and takes control characters out of it.
func printable(s string) string {
	const most = 100
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "…"
	}
	return s
}
