package vz

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestPacketIsCutToTheGuestsBuffers(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 1000)
	for _, room := range []int{headerBytes + 1, 3776, headerBytes + len(data), 1 << 20} {
		var got []byte
		for p := newPacket(1, 2, opData, 0, 0, data); len(p.data) > 0; {
			first, err := p.next(room)
			if err != nil {
				t.Fatal(err)
			}
			if n := int(binary.LittleEndian.Uint32(first[24:])); n != len(first)-headerBytes || len(first) > room {
				t.Fatalf("room for %d: a packet of %d bytes says that it has %d", room, len(first), n)
			}
			got = append(got, first[headerBytes:]...)
		}
		if !bytes.Equal(got, data) {
			t.Errorf("room for %d: %d bytes of %d, or others", room, len(got), len(data))
		}
	}
	p, bare := newPacket(1, 2, opData, 0, 0, data), newPacket(1, 2, opReset, 0, 0, nil)
	if _, err := p.next(headerBytes); err == nil {
		t.Error("a buffer without room for data was taken")
	}
	if first, err := bare.next(headerBytes); err != nil || len(first) != headerBytes {
		t.Errorf("a packet without data: %d bytes, %v", len(first), err)
	}
}
