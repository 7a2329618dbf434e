package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/channel"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// patience is how long a proof waits.
type patience struct {
	// agent is how long a kernel on true hardware acceleration may take to its
	// agent. It takes a second.
	agent time.Duration
	// silence is how long such a kernel may print nothing at all. Its first words
	// come at once; where they don't, waiting longer is of no use.
	silence time.Duration
	// space is how often a machine that stands still for want of space on the host's
	// disk is let go on, to see whether there is some.
	space time.Duration
}

func defaultPatience() patience {
	return patience{agent: 8 * time.Second, silence: 4 * time.Second, space: 5 * time.Second}
}

const (
	// killTimeout bounds the wait for the end of a machine that is killed.
	killTimeout = 10 * time.Second
	// proofMemory is the memory of the machine that is booted for proof.
	proofMemory = 256 << 20
)

// verdict is the accelerator to use, and why when it is not the best there could be.
type verdict struct {
	Accelerator string    `json:"accelerator"`
	Reason      string    `json:"reason,omitempty"`
	Time        time.Time `json:"time,omitzero"`
	// Subject is what was proved, for people who look into the file.
	Subject string `json:"subject,omitempty"`
}

// String is the accelerator's name, with the reason in parentheses.
func (v verdict) String() string {
	if v.Reason == "" {
		return v.Accelerator
	}
	return v.Accelerator + " (" + v.Reason + ")"
}

// accelerator decides what the machine runs on. "auto" uses the hardware if a
// throw-away machine with the same kernel and initramfs reaches its agent on
// it: a device that opens proves nothing. That boot is done once per host boot,
// kernel, QEMU and machine type, by one process for all; the verdict lies in
// the cache directory.
func (h *Hypervisor) accelerator(ctx context.Context, binary string, cfg linuxvm.MachineConfig, data runtimeData) (verdict, error) {
	if data.Acceleration != accelAuto {
		return verdict{Accelerator: data.Acceleration}, nil
	}
	hardware := hardwareAccelerator(h.host.os)
	if obstacle := h.host.obstacle(); obstacle != "" {
		return verdict{Accelerator: accelTCG, Reason: obstacle}, nil
	}
	subject, err := h.subject(binary, cfg, data.Machine)
	if err != nil {
		return verdict{}, err
	}
	return remembered(ctx, cfg.CacheDir, subject, func() (verdict, error) {
		h.log.InfoContext(ctx, "booting a throw-away machine to see whether "+hardware+" works", "kernel", cfg.Kernel.Image)
		start := time.Now()
		err := h.prove(ctx, binary, cfg, data.Machine, hardware)
		if ctx.Err() != nil {
			return verdict{}, ctx.Err()
		}
		for _, kind := range []error{drivers.ErrExhausted, drivers.ErrUnavailable, drivers.ErrInvalidArgument} {
			if errors.Is(err, kind) {
				return verdict{}, err // says nothing of the hardware
			}
		}
		v := verdict{Accelerator: hardware}
		if err != nil {
			v = verdict{Accelerator: accelTCG, Reason: hardware + " does not boot this kernel: " + err.Error()}
		}
		h.log.InfoContext(ctx, "acceleration decided", "accelerator", v.String(), "after", time.Since(start))
		return v, nil
	})
}

// subject names all that a verdict depends on.
func (h *Hypervisor) subject(binary string, cfg linuxvm.MachineConfig, typ string) (string, error) {
	s := newSpec(cfg, h.host.os, typ, "", "")
	kernel, err := fileIdentity(s.Kernel)
	if err != nil {
		return "", fmt.Errorf("kernel: %w", err)
	}
	qemu, err := fileIdentity(binary)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s on %s; %s; machine %s; nested %t; host %s %s",
		kernel, h.host.os, qemu, typ, cfg.NestedVirtualization, h.host.release, h.host.bootID), nil
}

// fileIdentity changes when the file's content does.
func fileIdentity(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s (%d bytes of %s)", path, info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano)), nil
}

// remembered returns the verdict on the subject from the directory, or finds
// it, one process at a time, and keeps it there.
func remembered(ctx context.Context, dir, subject string, find func() (verdict, error)) (verdict, error) {
	sum := sha256.Sum256([]byte(subject))
	path := filepath.Join(dir, "accel-"+hex.EncodeToString(sum[:8])+".json")
	if v, ok := readVerdict(path); ok {
		return v, nil
	}
	if err := state.MkdirAll(dir); err != nil {
		return verdict{}, fmt.Errorf("remember the verdict on acceleration: %w", err)
	}
	unlock, err := state.Lock(ctx, path+".lock")
	if err != nil {
		return verdict{}, fmt.Errorf("wait for the verdict on acceleration: %w", err)
	}
	defer func() { _ = unlock() }()
	if v, ok := readVerdict(path); ok {
		return v, nil // another found it meanwhile
	}
	v, err := find()
	if err != nil {
		return verdict{}, err
	}
	v.Time, v.Subject = time.Now().UTC(), subject
	if err := state.WriteJSON(path, v); err != nil {
		return verdict{}, fmt.Errorf("remember the verdict on acceleration: %w", err)
	}
	return v, nil
}

// readVerdict reads a verdict; one that cannot be read is found anew.
func readVerdict(path string) (verdict, bool) {
	var v verdict
	if err := state.ReadJSON(path, &v); err != nil {
		return verdict{}, false
	}
	return v, v.Accelerator != ""
}

// prove boots the kernel on the hardware until its agent answers.
func (h *Hypervisor) prove(ctx context.Context, binary string, cfg linuxvm.MachineConfig, typ, hardware string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, h.patience.agent,
		fmt.Errorf("its agent did not answer within %s", h.patience.agent))
	defer cancel()
	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)

	first := make(chan struct{})
	cfg.ID = fmt.Sprintf("proof-%d", os.Getpid())
	cfg.CPUs, cfg.MemoryBytes, cfg.Disks = 1, min(cfg.MemoryBytes, proofMemory), nil
	cfg.Console = &firstByte{seen: first}
	// The last of two contrary arguments counts: the kernel is to speak.
	cfg.Kernel.Args = append(append([]string(nil), cfg.Kernel.Args...), "loglevel=7", "earlyprintk=ttyS0")

	m, err := h.launch(ctx, cfg, plan{binary: binary, typ: typ, choice: verdict{Accelerator: hardware}, mortal: true})
	if err != nil {
		return cause(ctx, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
		defer cancel()
		_ = m.Kill(ctx) // it dies with this process at the latest
	}()
	go func() {
		silence := time.NewTimer(h.patience.silence)
		defer silence.Stop()
		select {
		case <-first:
		case <-ctx.Done():
		case <-silence.C:
			give(fmt.Errorf("it printed nothing within %s", h.patience.silence))
		}
	}()
	go func() {
		select {
		case <-m.Exited():
			reason := m.ExitReason()
			if reason == "" {
				reason = "the guest powered off"
			}
			give(errors.New("the virtual machine ended: " + reason))
		case <-ctx.Done():
		}
	}()
	client, err := channel.Connect(ctx, m.DialAgent)
	if err != nil {
		return cause(ctx, err)
	}
	client.Close()
	return nil
}

// cause returns why the context was cancelled, or else the error.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// host is what this host brings, apart from QEMU.
type host struct {
	os, arch string
	// device is what must open for hardware acceleration; empty for nothing.
	device string
	// release and bootID change when the host's kernel may have.
	release, bootID string
	// cpu tells its processor from others, as far as guests can.
	cpu string
}

// obstacle says why hardware acceleration is out of the question, if it is.
func (h host) obstacle() string {
	if h.device == "" {
		return ""
	}
	f, err := os.OpenFile(h.device, os.O_RDWR, 0)
	switch {
	case err == nil:
		f.Close()
		return ""
	case errors.Is(err, fs.ErrNotExist):
		return "this host has no " + h.device
	case errors.Is(err, fs.ErrPermission):
		return h.device + ": permission denied, join the group that owns it"
	default:
		return err.Error()
	}
}

// firstByte tells of the first bytes written, once.
type firstByte struct {
	once sync.Once
	seen chan struct{}
}

func (f *firstByte) Write(p []byte) (int, error) {
	f.once.Do(func() { close(f.seen) })
	return len(p), nil
}
