package qemu

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// A folder of the host's is shared by a process of virtiofsd, one for each: it
// serves one guest over a socket that QEMU is connected to from the start, and ends
// when that connection does. It runs in namespaces in which it sees nothing of the
// host's files but what it shares, read-only where the guest is not to write: see
// ShareHelper.

const (
	// shareHelperArg as the first argument makes this program's executable a share
	// helper.
	shareHelperArg = "share-host-path"
	// shareFD is the listening socket that virtiofsd inherits.
	shareFD = 3
	// sharesFile is, in the machine's state directory, which processes share folders
	// with it: Adopt watches them.
	sharesFile = "shares.json"
	// shareGrace is how long a machine whose share has ended may take to end by
	// itself, as when it is powered off.
	shareGrace = 2 * time.Second
)

// share is a folder that is being shared.
type share struct {
	tag     string
	process process
	// conn is QEMU's end of the connection; nil once QEMU has it.
	conn *os.File
}

// startShares starts a process for each folder.
func startShares(cfg linuxvm.MachineConfig) (_ []*share, err error) {
	var list []*share
	defer func() {
		if err != nil {
			endShares(list)
		}
	}()
	for i, s := range cfg.Shares {
		started, err := startShare(filepath.Join(cfg.SocketDir, fmt.Sprintf("fs%d-%d.sock", os.Getpid(), i)), s)
		if err != nil {
			return list, fmt.Errorf("share %s: %w", filepath.Join(s.Root, s.Path), err)
		}
		list = append(list, started)
	}
	return list, nil
}

func startShare(socket string, s linuxvm.Share) (*share, error) {
	daemon, err := findVirtiofsd()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	listener, addr, err := listen(socket)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	// Waiting to be accepted: nothing has to be polled for.
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: addr.path, Net: "unix"})
	if addr.hold != nil {
		addr.hold.Close()
	} else {
		_ = os.Remove(addr.path)
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	file, err := conn.File()
	if err != nil {
		return nil, err
	}
	child, err := startChild(self, shareArgs(s, daemon), []*os.File{listener}, shareProcAttr())
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%w: %w: host folders need namespaces of unprivileged users (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)",
			drivers.ErrUnavailable, err)
	}
	return &share{tag: s.Tag, process: child, conn: file}, nil
}

// shareArgs are the arguments of a helper: what to share and how, then virtiofsd's
// own command line, in the form that both of its implementations take.
func shareArgs(s linuxvm.Share, daemon string) []string {
	access, kind := "rw", "dir"
	if s.ReadOnly {
		access = "ro"
	}
	if s.File {
		kind = "file"
	}
	return []string{
		shareHelperArg, access, kind, s.Root, s.Path,
		daemon, fmt.Sprintf("--fd=%d", shareFD), "--rlimit-nofile=0",
		"-o", "source=" + sharedDir, "-o", "sandbox=namespace", "-o", "cache=auto", "-o", "log_level=err",
	}
}

// findVirtiofsd returns the path of virtiofsd's executable, which distributions
// keep off PATH.
func findVirtiofsd() (string, error) {
	for _, path := range []string{"/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	path, err := exec.LookPath("virtiofsd")
	if err != nil {
		return "", fmt.Errorf("%w: host folders need virtiofsd: install it (Debian 13, Fedora: the package virtiofsd; Debian 12: qemu-system-common)", drivers.ErrUnavailable)
	}
	return filepath.Abs(path)
}

// endShares ends the processes and closes what is left of the connections.
func endShares(list []*share) {
	for _, s := range list {
		s.process.kill()
		s.connected()
	}
}

// connected closes this process's copy of QEMU's end: so that the connection ends
// with QEMU.
func (s *share) connected() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// watchShares ends the machine when one of its folders is gone: what the guest asks
// of that would never be answered.
func (m *machine) watchShares() {
	for _, s := range m.shares {
		go func() {
			select {
			case <-m.exited:
				s.process.kill()
				return
			case <-s.process.gone():
			}
			grace := time.NewTimer(shareGrace)
			defer grace.Stop()
			select {
			case <-m.process.gone(): // and the folder with it
				return
			case <-grace.C:
			}
			m.mu.Lock()
			m.lost = "the process that shares a host folder ended"
			if c, ok := s.process.(*child); ok && c.stderr.lastLine() != "" {
				m.lost += ": " + c.stderr.lastLine()
			}
			m.mu.Unlock()
			m.process.kill()
		}()
	}
}

// keepShares notes the processes for Adopt.
func (m *machine) keepShares(dir string) error {
	path := filepath.Join(dir, sharesFile)
	if len(m.shares) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	kept := map[string]procfs.ID{}
	for _, s := range m.shares {
		child, ok := s.process.(*child)
		if !ok {
			continue
		}
		id, err := procfs.Lookup(child.cmd.Process.Pid)
		if err != nil {
			return fmt.Errorf("the process that shares a host folder: %w", err)
		}
		kept[s.tag] = id
	}
	return state.WriteJSON(path, kept)
}

// adoptShares finds the processes of a machine that another process started.
func (m *machine) adoptShares(dir string) error {
	var kept map[string]procfs.ID
	err := state.ReadJSON(filepath.Join(dir, sharesFile), &kept)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for tag, id := range kept {
		process, err := adoptProcess(id)
		if err != nil {
			return fmt.Errorf("the process that shares a host folder: %w", err)
		}
		m.shares = append(m.shares, &share{tag: tag, process: process})
	}
	return nil
}
