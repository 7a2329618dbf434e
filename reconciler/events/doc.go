// Package events remembers what happened to each object: a bounded number of
// events, repeats counted rather than repeated, kept across restarts of the
// daemon in a file of JSON lines.
//
// The reconciler records, whoever wants to know lists or watches. The package
// knows nothing of what the reasons mean.
package events
