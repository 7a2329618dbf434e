package vz

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"
)

// ErrorCode tells the framework's errors apart.
type ErrorCode int

// ErrorOutOfDiskSpace is that of a full disk.
const ErrorOutOfDiskSpace ErrorCode = 8

// NSError is an error of the framework's.
type NSError struct {
	Domain               string
	Code                 int
	LocalizedDescription string
	UserInfo             string
}

// Error tells what is wrong.
func (n *NSError) Error() string {
	return fmt.Sprintf("Error Domain=%s Code=%d Description=%q", n.Domain, n.Code, n.LocalizedDescription)
}

// ValidateSaveRestoreSupport says whether a machine can be saved.
func (v *VirtualMachineConfiguration) ValidateSaveRestoreSupport() (bool, error) {
	if channel == channelVsock && v.sockets > 0 {
		return false, errors.New("QEMU moves no machine with a vhost-user vsock: make lookalike builds one without, in bin/lookalike-saving")
	}
	return true, nil
}

// SaveMachineStateToPath writes the state of a machine that is paused to a file,
// by a migration.
func (v *VirtualMachine) SaveMachineStateToPath(saveFilePath string) error {
	if _, err := v.config.ValidateSaveRestoreSupport(); err != nil {
		return err
	}
	if err := v.move(VirtualMachineStateSaving, VirtualMachineStatePaused); err != nil {
		return err
	}
	defer v.set(VirtualMachineStatePaused)
	file, err := os.OpenFile(saveFilePath, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	if v.migrated {
		// It must have run in between, if only for a moment.
		if err := errors.Join(v.monitor.execute("cont", nil, nil), v.monitor.execute("stop", nil, nil)); err != nil {
			return err
		}
	}
	v.migrated = true
	if err := v.monitor.migrate("migrate", file); err != nil {
		return err
	}
	return v.monitor.settle()
}

// RestoreMachineStateFromURL makes a machine that has yet to be started one that
// is paused where another was saved.
func (v *VirtualMachine) RestoreMachineStateFromURL(saveFilePath string) error {
	if _, err := v.config.ValidateSaveRestoreSupport(); err != nil {
		return err
	}
	file, err := os.Open(saveFilePath)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := v.move(VirtualMachineStateRestoring, VirtualMachineStateStopped); err != nil {
		return err
	}
	if err := v.launch([]string{"-S", "-incoming", "defer"}); err != nil {
		v.set(VirtualMachineStateStopped)
		return err
	}
	if err := v.monitor.migrate("migrate-incoming", file); err != nil {
		_ = v.cmd.Process.Kill() // it may have ended by itself
		<-v.ended
		v.monitor.close()
		v.socket.close()
		v.set(VirtualMachineStateStopped)
		return err
	}
	v.set(VirtualMachineStatePaused)
	go v.watch()
	return nil
}

// settle waits until QEMU has got over a migration, of which it tells in no event.
func (m *monitor) settle() error {
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for range again.C {
		status, err := m.query("query-status", nil, nil)
		if err != nil || bytes.Contains(status, []byte(`"postmigrate"`)) {
			return err
		}
	}
	return nil
}

// migrate moves a machine to a file, or from one.
func (m *monitor) migrate(command string, file *os.File) error {
	err := m.execute("migrate-set-capabilities", map[string]any{
		"capabilities": []any{map[string]any{"capability": "events", "state": true}},
	}, nil)
	if err == nil {
		err = m.execute("migrate-set-parameters", map[string]any{"max-bandwidth": int64(1) << 40}, nil)
	}
	if err == nil {
		err = m.execute("getfd", map[string]any{"fdname": "state"}, file)
	}
	if err == nil {
		m.mu.Lock()
		m.migration = ""
		m.mu.Unlock()
		err = m.execute(command, map[string]any{"uri": "fd:state"}, nil)
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.migration != "completed" && m.migration != "failed" {
		if _, err := m.next(); err != nil {
			return err
		}
	}
	if m.migration == "failed" {
		return errors.New("the migration failed")
	}
	return nil
}
