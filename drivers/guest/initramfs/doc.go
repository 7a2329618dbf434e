// Package initramfs makes what the kernel of a sandbox boots into: the agent as
// /init and the kernel modules it has to load, as an uncompressed cpio archive
// (the kernel unpacks that fastest).
//
// In the archive, modules lie in /modules, without compression, beside
// ListFile, which tells the agent their order and when each is wanted.
package initramfs
