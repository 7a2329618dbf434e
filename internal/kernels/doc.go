// Package kernels keeps the kernels that VMs boot: it takes one from a
// distribution's package, a package file or a raw image, and holds it in the
// form hypervisors want, without root and without installing anything on the
// host (its boot loader is never touched).
//
// Layout under the store's directory, which is <state-dir>/kernels:
//
//	NAME/kernel.json            which version is in use; replaced atomically
//	NAME/VERSION-CONTENT/image  the kernel as its package ships it
//	NAME/VERSION-CONTENT/vmlinux  the same kernel uncompressed, if it has a PVH entry
//	NAME/VERSION-CONTENT/modules  "kernel/", modules.builtin, modules.order
//
// CONTENT is a digest of the files, so a directory never changes once it is
// there: installing a newer kernel makes a new one and switches kernel.json,
// and VMs that were configured with the older one keep finding it until Prune.
//
// Modules are kept without compression, and only those that can be of use in a
// VM: see the rule at keepModule.
package kernels
