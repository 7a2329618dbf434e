package linuxvm

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
)

// dataSerial is the serial of the writable disk.
const dataSerial = "data"

// baseKernelArgs go to every kernel: no chatter, no self-tests of the kernel's
// cryptography, which take a tenth of an emulated boot, and pressure stall
// information, which Debian's kernel keeps when asked only, and which costs a boot
// nothing that could be measured.
var baseKernelArgs = []string{"quiet", "cryptomgr.notests", "psi=1"}

// disks returns the machine's block devices and the serial for each container's
// root filesystem. Containers of one image share its device.
func disks(c drivers.Configuration, data string) (list []Disk, serials map[string]string) {
	list = []Disk{{Serial: dataSerial, Path: data}}
	serials = map[string]string{}
	byPath := map[string]string{}
	for _, ct := range c.Containers {
		serial, ok := byPath[ct.Rootfs]
		if !ok {
			serial = fmt.Sprintf("root%d", len(byPath))
			byPath[ct.Rootfs] = serial
			list = append(list, Disk{Serial: serial, Path: ct.Rootfs, ReadOnly: true})
		}
		serials[ct.Name] = serial
	}
	return append(list, volumeDisks(c.Volumes)...), serials
}

// configureRequest is what the agent sets the guest up from.
func configureRequest(c drivers.Configuration, s secrets, now time.Time, seed []byte) (*agentpb.ConfigureRequest, error) {
	req := &agentpb.ConfigureRequest{
		Time:        timestamppb.New(now),
		RandomSeed:  seed,
		Hostname:    c.Hostname,
		DiskSerial:  dataSerial,
		Sysctls:     c.Sysctls,
		Nameservers: resolver(c, c.DNS).Nameservers,
		Searches:    c.DNS.Searches,
		DnsOptions:  c.DNS.Options,
		Interfaces:  interfaceRequests(c.Interfaces),
	}
	for _, a := range c.HostAliases {
		req.HostAliases = append(req.HostAliases, &agentpb.HostAlias{Ip: a.IP, Hostnames: a.Hostnames})
	}
	if g := c.FSGroup; g != nil {
		req.FsGroup = &agentpb.FSGroup{Id: g.ID, OnRootMismatch: g.OnRootMismatch}
	}
	var err error
	req.Volumes, err = volumeRequests(c.Volumes, s)
	return req, err
}

// containerRequest is what the agent makes a container from.
func containerRequest(ct drivers.Container, serial string) *agentpb.CreateContainerRequest {
	req := &agentpb.CreateContainerRequest{
		Name:           ct.Name,
		RootfsSerial:   serial,
		ReadOnlyRootfs: ct.ReadOnlyRootfs,
		CpuMillis:      ct.CPUMillis,
		MemoryBytes:    ct.MemoryBytes,
	}
	for _, m := range ct.Mounts {
		req.Mounts = append(req.Mounts, &agentpb.Mount{Volume: m.Volume, Path: m.Path, SubPath: m.SubPath, ReadOnly: m.ReadOnly})
	}
	return req
}
