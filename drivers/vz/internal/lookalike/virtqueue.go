package vz

import (
	"encoding/binary"
	"errors"
	"os"
	"sync/atomic"
	"unsafe"
)

var errMemory = errors.New("an address outside the guest's memory")

// region is a part of the guest's memory.
type region struct {
	guest, user uint64 // where the guest and where QEMU have it
	data        []byte
}

// memory is the guest's.
type memory []region

// at returns n bytes at an address of the guest's.
func (m memory) at(addr, n uint64) ([]byte, error) {
	return m.find(addr, n, func(r region) uint64 { return r.guest })
}

// atUser returns n bytes at an address of QEMU's.
func (m memory) atUser(addr, n uint64) ([]byte, error) {
	return m.find(addr, n, func(r region) uint64 { return r.user })
}

func (m memory) find(addr, n uint64, base func(region) uint64) ([]byte, error) {
	for _, r := range m {
		off := addr - base(r)
		if addr >= base(r) && off <= uint64(len(r.data)) && n <= uint64(len(r.data))-off {
			return r.data[off : off+n], nil
		}
	}
	return nil, errMemory
}

// queue is a split virtqueue, see section 2.7 of the virtio specification.
type queue struct {
	size               int
	rings              []byte // the message that said where they are
	descs, avail, used []byte
	next               uint16 // of avail, to be taken
	kick, call         *os.File
	enabled            bool
}

func (q *queue) ready() bool { return q.enabled && q.kick != nil && q.descs != nil }

// chain is one buffer of the guest's: what it has written, and where it wants to
// be answered.
type chain struct {
	head               uint16
	readable, writable [][]byte
}

// room is how many bytes the answer may have.
func (c chain) room() (n int) {
	for _, part := range c.writable {
		n += len(part)
	}
	return n
}

// take returns the next chain that the guest has made available.
func (q *queue) take(m memory) (c chain, ok bool, err error) {
	const (
		flagNext  = 1
		flagWrite = 2
	)
	index := uint16(atomic.LoadUint32((*uint32)(unsafe.Pointer(&q.avail[0]))) >> 16)
	if q.next == index {
		return c, false, nil
	}
	le := binary.LittleEndian
	c.head = le.Uint16(q.avail[4+2*(int(q.next)%q.size):])
	q.next++
	for i, seen := int(c.head), 0; ; seen++ {
		if i >= q.size || seen >= q.size {
			return c, false, errors.New("a descriptor chain without end")
		}
		d := q.descs[16*i:]
		flags := le.Uint16(d[12:])
		buf, err := m.at(le.Uint64(d), uint64(le.Uint32(d[8:])))
		if err != nil {
			return c, false, err
		}
		if flags&flagWrite != 0 {
			c.writable = append(c.writable, buf)
		} else {
			c.readable = append(c.readable, buf)
		}
		if flags&flagNext == 0 {
			return c, true, nil
		}
		i = int(le.Uint16(d[14:]))
	}
}

// give returns a chain with n bytes written.
func (q *queue) give(c chain, n int) {
	le := binary.LittleEndian
	head := (*uint32)(unsafe.Pointer(&q.used[0]))
	index := uint16(atomic.LoadUint32(head) >> 16)
	entry := q.used[4+8*(int(index)%q.size):]
	le.PutUint32(entry, uint32(c.head))
	le.PutUint32(entry[4:], uint32(n))
	atomic.StoreUint32(head, uint32(index+1)<<16)
}

// notify interrupts the guest.
func (q *queue) notify() {
	if q.call != nil && atomic.LoadUint32((*uint32)(unsafe.Pointer(&q.avail[0])))&1 == 0 {
		_, _ = q.call.Write([]byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}
