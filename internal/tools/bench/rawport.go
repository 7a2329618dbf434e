package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers/guest/initramfs"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/drivers/qemu"
)

// rawPort is a machine like a sandbox's, whose guest does nothing but read and
// write the agent's port: see the command in rawport/.
type rawPort struct {
	machine linuxvm.Machine
	port    net.Conn
	dir     string
	size    int64
}

// startRawPort starts one on the kernel, with the memory and the options of a
// sandbox. Each measurement is of size bytes.
func startRawPort(ctx context.Context, h *host, like string, size int64) (_ *rawPort, err error) {
	config, err := h.configuration(like)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/tmp", "vzb") // short, for sockets
	if err != nil {
		return nil, err
	}
	r := &rawPort{dir: dir, size: size}
	defer func() {
		if err != nil {
			r.end()
		}
	}()
	program, initrd := filepath.Join(dir, "rawport"), filepath.Join(dir, "initrd")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./internal/tools/bench/rawport")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the guest's program: %w: %s", err, out)
	}
	hv := qemu.New(qemu.Options{})
	f, err := os.Create(initrd)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := initramfs.Build(f, initramfs.Options{Agent: program, ModulesDir: config.Kernel.ModulesDir, Modules: hv.RequiredModules()}); err != nil {
		return nil, err
	}
	r.machine, err = hv.Start(ctx, linuxvm.MachineConfig{
		ID: "raw", CPUs: config.CPUs, MemoryBytes: config.MemoryBytes, Kernel: config.Kernel, Initrd: initrd,
		KernelArgs: []string{"quiet", fmt.Sprintf("rawport=%d", size)}, Console: io.Discard,
		SocketDir: dir, CacheDir: config.CacheDir, RuntimeData: config.RuntimeData,
	})
	if err != nil {
		return nil, err
	}
	if r.port, err = r.machine.DialAgent(ctx); err != nil {
		return nil, err
	}
	defer r.bound(ctx)()
	if _, err = io.ReadFull(r.port, make([]byte, 1)); err != nil {
		return nil, fmt.Errorf("the guest does not answer: %w", err)
	}
	return r, nil
}

func (r *rawPort) pid() int { return r.machine.Describe().PID }

// send returns when the guest has taken the bytes.
func (r *rawPort) send(ctx context.Context) error {
	defer r.bound(ctx)()
	piece := make([]byte, 1<<20)
	for left := r.size; left > 0; left -= int64(len(piece)) {
		if _, err := r.port.Write(piece[:min(left, int64(len(piece)))]); err != nil {
			return err
		}
	}
	if _, err := io.ReadFull(r.port, piece[:1]); err != nil {
		return fmt.Errorf("the guest's answer: %w", err)
	}
	return nil
}

// receive takes the bytes that the guest sends then.
func (r *rawPort) receive(ctx context.Context) error {
	defer r.bound(ctx)()
	if _, err := r.port.Write([]byte{0}); err != nil {
		return err
	}
	_, err := io.CopyBuffer(onlyWriter{io.Discard}, io.LimitReader(r.port, r.size), make([]byte, 1<<20))
	return err
}

// bound has ctx end what is read and written until its result is called.
func (r *rawPort) bound(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() { _ = r.port.SetDeadline(time.Now()) })
}

// onlyWriter hides ReadFrom, which would use a buffer of its own.
type onlyWriter struct{ io.Writer }

func (r *rawPort) end() {
	if r.port != nil {
		r.port.Close()
	}
	if r.machine != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = r.machine.Kill(ctx)
	}
	_ = os.RemoveAll(r.dir)
}
