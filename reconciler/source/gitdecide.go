package source

import (
	"errors"
	"fmt"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/source/git"
)

// taken is a commit in force.
type taken struct {
	revision *manifests.Revision
	objects  []*manifests.Object
}

// refusal is a commit that was not taken.
type refusal struct {
	commit string
	errors []*manifests.Error
	// unproven says that it was for its signature: the list of signers may change,
	// so it is looked at again.
	unproven bool
	// keys is the stamp of the keys for encrypted Secrets: with others it is looked
	// at again.
	keys    string
	message string
}

// decide takes a commit, or refuses it. The error says that it could not be read.
func (g *Git) decide(c *git.Commit) error {
	t, files, r, err := g.judge(c)
	if err != nil {
		return err
	}
	if r != nil {
		if g.refused == nil || g.refused.message != r.message {
			g.opts.Event(true, ReasonCommitRefused, g.name()+": "+r.message+g.stays())
		}
		g.refused = r
		return nil
	}
	was := g.taken
	if was != nil {
		reuse(t.objects, was.objects)
	}
	g.taken, g.refused = t, nil
	if err := g.keep(c, files); err != nil {
		g.opts.Log.Error("keep what a commit holds for the next daemon", "source", g.name(), "error", err)
	}
	if was == nil || was.revision.Commit != c.Hash {
		g.opts.Event(false, ReasonCommitTaken, fmt.Sprintf("%s is at commit %s by %s of %s, with %d objects",
			g.name(), c.Short(), c.Author, c.Time.Format(time.RFC3339), len(t.objects)))
	}
	return nil
}

// judge says what a commit comes to: it is taken or refused.
func (g *Git) judge(c *git.Commit) (*taken, []git.File, *refusal, error) {
	signer, err := g.verify(c)
	if err != nil {
		r := g.refuse(c, g.errorAt("", err.Error()))
		r.unproven = true
		return nil, nil, r, nil
	}
	set, err := c.Files(g.opts.Location.Path, manifests.IsManifestFile, git.DefaultLimits)
	if bad, ok := errors.AsType[*git.FileError](err); ok {
		return nil, nil, g.refuse(c, g.errorAt(bad.Path, bad.Message)), nil
	}
	if err != nil {
		return nil, nil, nil, err
	}
	for _, w := range set.Warnings {
		g.opts.Log.Warn("left out of a commit", "source", g.name(), "commit", c.Short(), "warning", w)
	}
	t, errs := g.parse(c, signer, set.Files)
	if len(errs) > 0 {
		return nil, nil, g.refuse(c, errs...), nil
	}
	return t, set.Files, nil, nil
}

func (g *Git) verify(c *git.Commit) (signer string, err error) {
	if !g.opts.Verify.Required() {
		return "", nil
	}
	keys, err := g.opts.Verify.Load()
	if err != nil {
		return "", fmt.Errorf("it cannot be verified: %w", err)
	}
	return keys.Check(c)
}

// maxRefused is how many errors of one commit are shown.
const maxRefused = 50

func (g *Git) refuse(c *git.Commit, errs ...*manifests.Error) *refusal {
	first := errs[0].Error()
	if errs[0].File == g.name() { // It is about the commit itself.
		first = errs[0].Message
	}
	r := &refusal{commit: c.Hash, keys: g.opts.Keys.Stamp(), message: fmt.Sprintf("commit %s by %s is not taken: %s", c.Short(), c.Author, first)}
	if n := len(errs) - 1; n > 0 {
		r.message += fmt.Sprintf(" (and %d more)", n)
	}
	for _, e := range errs[:min(len(errs), maxRefused)] {
		of := *e
		if of.Suggestion != "" {
			of.Message += fmt.Sprintf(" (did you mean %q?)", of.Suggestion)
			of.Suggestion = ""
		}
		of.Message += " (commit " + c.Short() + ")"
		r.errors = append(r.errors, &of)
	}
	return r
}

// errorAt is an error about a file of a commit, or about the commit itself.
func (g *Git) errorAt(path, message string) *manifests.Error {
	file := g.name()
	if path != "" {
		file = g.opts.Location.File(path)
	}
	return &manifests.Error{Position: manifests.Position{File: file}, Message: message}
}

// nameless returns an error whose object is only part of what it says.
func nameless(e *manifests.Error) *manifests.Error {
	if e.Key == nil {
		return e
	}
	bare := *e
	bare.Key = nil
	bare.Message = e.Message
	if e.Field != "" {
		bare.Message = e.Field + ": " + bare.Message
		bare.Field = ""
	}
	bare.Message = e.Key.String() + ": " + bare.Message
	return &bare
}
