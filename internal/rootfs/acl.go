package rootfs

import (
	"encoding/binary"
	"errors"
)

// diskACL turns a POSIX ACL as programs and archives see it into the form that
// ext4 keeps on disk. Other "system." attributes are none of an image's: ok is
// then false.
func diskACL(name, value string) (disk string, ok bool, err error) {
	if name != "posix_acl_access" && name != "posix_acl_default" {
		return "", false, nil
	}
	const (
		header      = 4 // version 2
		entry       = 8 // tag, permissions, id
		diskVersion = 1
		tagUser     = 0x02
		tagGroup    = 0x08
	)
	le := binary.LittleEndian
	b := []byte(value)
	if len(b) < header || le.Uint32(b) != 2 || (len(b)-header)%entry != 0 {
		return "", false, errors.New("a damaged access control list")
	}
	out := le.AppendUint32(nil, diskVersion)
	for b = b[header:]; len(b) > 0; b = b[entry:] {
		out = append(out, b[:4]...)
		if tag := le.Uint16(b); tag == tagUser || tag == tagGroup {
			out = append(out, b[4:entry]...)
		}
	}
	return string(out), true, nil
}
