// Package diff says what it takes to get from one set of manifests to another:
// which objects come and go, which fields differ, and what each change costs what
// runs. vzctl compares two folders with it; the daemon compares a folder with
// what it has applied.
//
// It is pure, and tells no value of a Secret.
package diff
