// Package edit changes manifest files as a careful person would: one document is
// put in, replaced or taken out, and every byte of the others stays.
//
// It is pure: the content of a file goes in and comes out. What a document means
// is package manifests' to say.
package edit
