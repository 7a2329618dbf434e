package vz

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// Requests of the vhost-user protocol, see QEMU's docs/interop/vhost-user.rst.
const (
	reqGetFeatures         = 1
	reqSetMemTable         = 5
	reqSetVringNum         = 8
	reqSetVringAddr        = 9
	reqSetVringBase        = 10
	reqGetVringBase        = 11
	reqSetVringKick        = 12
	reqSetVringCall        = 13
	reqGetProtocolFeatures = 15
	reqGetQueueNum         = 17
	reqSetVringEnable      = 18
	reqGetConfig           = 24
)

const (
	featureProtocol = 1 << 30 // VHOST_USER_F_PROTOCOL_FEATURES
	featureVersion1 = 1 << 32 // VIRTIO_F_VERSION_1
	protocolMQ      = 1 << 0
	protocolConfig  = 1 << 9

	flagVersion = 1
	flagReply   = 1 << 2
	maxPayload  = 4 << 10
	maxFDs      = 8
)

// serve answers QEMU until it is gone.
func (d *VirtioSocketDevice) serve() {
	defer d.close()
	for {
		req, payload, fds, err := d.receive()
		if err != nil {
			return
		}
		reply, err := d.answer(req, payload, fds)
		if err != nil {
			fmt.Fprintf(os.Stderr, "vsock: request %d: %v\n", req, err)
			return
		}
		if reply == nil {
			continue
		}
		msg := binary.LittleEndian.AppendUint32(nil, req)
		msg = binary.LittleEndian.AppendUint32(msg, flagVersion|flagReply)
		msg = binary.LittleEndian.AppendUint32(msg, uint32(len(reply)))
		if _, err := d.conn.Write(append(msg, reply...)); err != nil {
			return
		}
	}
}

func (d *VirtioSocketDevice) receive() (req uint32, payload []byte, fds []int, err error) {
	conn := d.conn.(*net.UnixConn)
	header, oob := make([]byte, 12), make([]byte, syscall.CmsgSpace(4*maxFDs))
	n, oobn, _, _, err := conn.ReadMsgUnix(header, oob)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err == nil {
		_, err = io.ReadFull(conn, header[n:])
	}
	if err != nil {
		return 0, nil, nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return 0, nil, nil, err
	}
	for i := range messages {
		got, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return 0, nil, nil, err
		}
		fds = append(fds, got...)
	}
	size := binary.LittleEndian.Uint32(header[8:])
	if size > maxPayload {
		return 0, nil, nil, fmt.Errorf("a message of %d bytes", size)
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(conn, payload)
	return binary.LittleEndian.Uint32(header), payload, fds, err
}

// answer does what a request asks and returns the reply, nil if there is to be none.
func (d *VirtioSocketDevice) answer(req uint32, payload []byte, fds []int) (reply []byte, err error) {
	le := binary.LittleEndian
	d.mu.Lock()
	defer d.mu.Unlock()
	switch req {
	case reqGetFeatures:
		return le.AppendUint64(nil, featureProtocol|featureVersion1), nil
	case reqGetProtocolFeatures:
		return le.AppendUint64(nil, protocolMQ|protocolConfig), nil
	case reqGetQueueNum:
		return le.AppendUint64(nil, uint64(len(d.queues))), nil
	case reqGetConfig:
		// offset, size, flags; then the configuration, which is the guest's CID.
		cid := le.AppendUint64(nil, guestCID)
		copy(payload[12:], cid)
		return payload, nil
	case reqSetMemTable:
		return nil, d.setMemory(payload, fds)
	}
	if req < reqSetVringNum || req > reqSetVringEnable || len(payload) < 8 {
		return nil, nil
	}
	index := le.Uint32(payload)
	q := &d.queues[index&1]
	switch req {
	case reqSetVringNum:
		q.size = int(le.Uint32(payload[4:]))
	case reqSetVringBase:
		q.next = uint16(le.Uint32(payload[4:]))
	case reqSetVringAddr:
		err = d.setRings(q, payload)
	case reqGetVringBase:
		q.stop()
		return le.AppendUint32(le.AppendUint32(nil, index), uint32(q.next)), nil
	case reqSetVringKick:
		if len(fds) == 1 {
			_ = syscall.SetNonblock(fds[0], true)
			q.kick = os.NewFile(uintptr(fds[0]), "kick")
			go d.attend(q.kick)
		}
	case reqSetVringCall:
		if q.call != nil {
			q.call.Close()
			q.call = nil
		}
		if len(fds) == 1 {
			q.call = os.NewFile(uintptr(fds[0]), "call")
		}
	case reqSetVringEnable:
		q.enabled = le.Uint32(payload[4:]) == 1
		d.work()
	}
	return nil, err
}

// setMemory maps the guest's memory: a table of regions with a descriptor each.
func (d *VirtioSocketDevice) setMemory(payload []byte, fds []int) error {
	le := binary.LittleEndian
	const entry = 32
	n := int(le.Uint32(payload))
	if n != len(fds) || len(payload) < 8+n*entry {
		return fmt.Errorf("%d regions with %d descriptors", n, len(fds))
	}
	d.unmap()
	for i, fd := range fds {
		e := payload[8+i*entry:]
		size, offset := le.Uint64(e[8:]), le.Uint64(e[24:])
		data, err := syscall.Mmap(fd, 0, int(offset+size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		syscall.Close(fd)
		if err != nil {
			return err
		}
		d.maps = append(d.maps, data)
		d.memory = append(d.memory, region{guest: le.Uint64(e), user: le.Uint64(e[16:]), data: data[offset:]})
	}
	// Rings that were known lie elsewhere in this process now.
	for i := range d.queues {
		if q := &d.queues[i]; q.rings != nil {
			if err := d.setRings(q, q.rings); err != nil {
				return err
			}
		}
	}
	return nil
}

// setRings finds the three parts of a queue.
func (d *VirtioSocketDevice) setRings(q *queue, payload []byte) (err error) {
	le := binary.LittleEndian
	n := uint64(q.size)
	q.rings = payload
	if len(payload) < 32 || n == 0 {
		return fmt.Errorf("rings of %d entries", n)
	}
	if q.descs, err = d.memory.atUser(le.Uint64(payload[8:]), 16*n); err != nil {
		return err
	}
	if q.used, err = d.memory.atUser(le.Uint64(payload[16:]), 4+8*n); err != nil {
		return err
	}
	q.avail, err = d.memory.atUser(le.Uint64(payload[24:]), 4+2*n)
	return err
}

func (q *queue) stop() {
	if q.kick != nil {
		q.kick.Close()
		q.kick = nil
	}
	q.enabled, q.rings = false, nil
}

// attend does the work each time the guest kicks, until the kick is closed.
func (d *VirtioSocketDevice) attend(kick *os.File) {
	for count := make([]byte, 8); ; {
		if _, err := kick.Read(count); err != nil {
			return
		}
		d.mu.Lock()
		d.work()
		d.mu.Unlock()
	}
}
