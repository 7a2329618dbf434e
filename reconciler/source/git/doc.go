// Package git takes the files of one commit out of a Git repository, and proves
// who signed it.
//
// A Location names a branch of a repository, and perhaps a directory in it. A
// Remote tells which commit the branch is at, and fetches that commit alone,
// without its history, into a directory that is thrown away again: what was
// fetched before plays no part, so a branch that was forced elsewhere is no
// special case. What is kept of a commit is a FileSet, read from the commit's
// tree; nothing is checked out. Verifier decides whether the commit was signed by
// somebody who may.
//
// ReadRevision does the same with any revision of a repository on this host.
//
// The package knows nothing of manifests: it takes the files whose names it is
// told to want. It reads credentials from files, each time it needs them, and
// puts them into no URL, no error and no log.
package git
