// Package images keeps container images: it gets them from registries and from
// local layouts and archives, verifies every digest, and unpacks each image
// once into a read-only ext4 base that all its sandboxes share.
//
// Layout under the store's directory, which is <state-dir>/images:
//
//	oci-layout, index.json, blobs/sha256/…   an OCI image layout that other tools can read
//	rootfs/sha256-DIGEST-vN.ext4             the base of the image with that manifest digest
//	tmp/                                     downloads and unpacking under way; cleared by Open
//
// A blob or base is written under a temporary name, synced and renamed, and
// index.json names an image only after all of it is there: what is interrupted
// leaves nothing that looks whole.
//
// Concurrent calls for one image do its work once. Several processes may use one
// store; they take turns by a lock file.
package images
