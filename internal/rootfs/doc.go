// Package rootfs turns the layers of a container image into one read-only ext4
// file system, without root and without ever writing a layer's names to the
// host's file system.
//
// Layers are read bottom to top. What they say becomes a tree in memory, their
// files' contents go to one spool file. The finished tree is then written as an
// ext4 image, sparse and only as large as its content.
//
// The tree follows the rules of the OCI image specification, as container
// engines apply them:
//
//   - ".wh.NAME" removes NAME, and ".wh..wh..opq" all else in its directory, as
//     left by lower layers; the order within a layer does not matter.
//   - A directory over a directory changes its attributes and keeps what is in
//     it. Any other entry replaces what has its name.
//   - A parent that is a symbolic link is followed within the image; a missing
//     one is made.
//   - A hard link shares the file that its target is at that moment, also of a
//     lower layer, and keeps it if the target is replaced later.
//
// A layer may be hostile: names with "..", links to what is not there, unknown
// kinds of entries, sizes and numbers without bound are refused with ErrInvalid,
// which names layer and entry. The targets of symbolic links are mere data.
package rootfs
