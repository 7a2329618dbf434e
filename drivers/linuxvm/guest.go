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

// disks returns the machine's block devices and the serial for each image's root
// filesystem, by its path: all that have one image share its device.
func disks(c drivers.Configuration, bundle, data string) (list []Disk, serials map[string]string) {
	list = []Disk{{Serial: dataSerial, Path: data}}
	serials = map[string]string{}
	for _, rootfs := range rootfses(c) {
		if _, ok := serials[rootfs]; ok {
			continue
		}
		serials[rootfs] = fmt.Sprintf("root%d", len(serials))
		list = append(list, Disk{Serial: serials[rootfs], Path: rootfs, ReadOnly: true})
	}
	return append(list, volumeDisks(c.Volumes, bundle)...), serials
}

// rootfses are the paths of the root filesystems of the containers and of the images
// that are volumes.
func rootfses(c drivers.Configuration) []string {
	var paths []string
	for _, ct := range c.Containers {
		paths = append(paths, ct.Rootfs)
	}
	for _, v := range c.Volumes {
		if v.Image != nil {
			paths = append(paths, v.Image.Rootfs)
		}
	}
	return paths
}

// configureRequest is what the agent sets the guest up from.
func configureRequest(c drivers.Configuration, s secrets, serials map[string]string, now time.Time, seed []byte) (*agentpb.ConfigureRequest, error) {
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
	req.Volumes, err = volumeRequests(c.Volumes, s, serials)
	return req, err
}

// containerRequest is what the agent makes a container from.
func (v *vm) containerRequest(ct drivers.Container, serial string) *agentpb.CreateContainerRequest {
	req := &agentpb.CreateContainerRequest{
		Name:           ct.Name,
		RootfsSerial:   serial,
		ReadOnlyRootfs: ct.ReadOnlyRootfs,
		CpuMillis:      ct.CPUMillis,
		MemoryBytes:    ct.MemoryBytes,
	}
	for _, m := range ct.Mounts {
		subPath := m.SubPath
		if subPath == "" && v.singleFile(m.Volume) {
			subPath = SharedFile
		}
		req.Mounts = append(req.Mounts, &agentpb.Mount{Volume: m.Volume, Path: m.Path, SubPath: subPath, ReadOnly: m.ReadOnly})
	}
	return req
}
