// Package treetar carries trees of files as tar archives: it packs what lies
// below a directory, and unpacks an archive below one.
//
// Neither side trusts the other. Everything is done through an os.Root: no name
// in an archive, no symbolic and no hard link leads out of the directory that is
// unpacked into. A file is written under a temporary name beside its own and
// renamed when it is whole, so that whoever is interrupted leaves no half file.
//
// Kept are permissions, owners by number, times of modification, symbolic and
// hard links, holes, and the extended attributes that users set and that give
// programs capabilities. Sockets cannot be packed; device nodes and pipes are
// packed but not unpacked.
package treetar
