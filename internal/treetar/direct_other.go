//go:build !linux

package treetar

import "os"

// openDirect is not there: Direct has no effect.
const openDirect = 0

func alignedBuffer() []byte { return make([]byte, bufferBytes) }

func buffered(*os.File) error { return nil }
