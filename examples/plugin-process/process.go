package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// process is a process of a container, which may run more than once. The
// sandbox's mutex guards it, but for what its run has.
type process struct {
	stage  stage
	status drivers.ProcessStatus
	isInit bool
	run    *run
	// first is closed when it is started for the first time, or never will be.
	first chan struct{}
}

// run is one run of a process: this program again, as the first process in new
// namespaces, and the process below it.
type run struct {
	cmd *exec.Cmd
	// control carries the numbers of signals; its end is the end of the run.
	control *os.File
	done    chan struct{}
	exit    drivers.ExitStatus // once done is closed
	close   sync.Once
}

// start starts the process and returns when it runs.
func (p *process) start(stdin io.Reader, stdout, stderr io.Writer) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	controlled, control, err := os.Pipe()
	if err != nil {
		return err
	}
	defer controlled.Close()
	reports, reporting, err := os.Pipe()
	if err != nil {
		_ = control.Close()
		return err
	}
	cmd := exec.Command(exe, initArg)
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.ExtraFiles = []*os.File{controlled, reporting}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:      true,
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var input io.WriteCloser
	if stdin != nil {
		if input, err = cmd.StdinPipe(); err != nil {
			return errors.Join(err, control.Close(), reports.Close(), reporting.Close())
		}
	}
	if err := errors.Join(os.MkdirAll(p.stage.Root, 0o700), cmd.Start()); err != nil {
		return errors.Join(err, control.Close(), reports.Close(), reporting.Close())
	}
	_ = reporting.Close() // the child's end is open now
	r := &run{cmd: cmd, control: control, done: make(chan struct{})}
	messages := json.NewDecoder(bufio.NewReader(reports))
	abandon := func(err error) error {
		r.kill()
		_ = cmd.Wait()
		return errors.Join(err, reports.Close())
	}
	// An error of this is seen as the end of the messages.
	_ = json.NewEncoder(control).Encode(p.stage)
	var begun report
	if err := messages.Decode(&begun); err != nil {
		return abandon(fmt.Errorf("it did not come up in its namespaces: %w", err))
	}
	if begun.Error != "" {
		return abandon(errors.New(begun.Error))
	}
	if input != nil {
		go func() {
			_, _ = io.Copy(input, stdin)
			_ = input.Close()
		}()
	}
	p.run = r
	p.status.State, p.status.PID, p.status.StartedAt, p.status.Exit = drivers.ProcessRunning, begun.PID, time.Now(), nil
	p.begun()
	go func() {
		end := report{Code: 128 + int(syscall.SIGKILL), Signal: int(syscall.SIGKILL)}
		_ = messages.Decode(&end) // killed with all of its namespace, it does not say
		r.kill()
		_ = cmd.Wait() // and for what it has printed
		_ = reports.Close()
		r.exit = drivers.ExitStatus{Code: end.Code, Signal: end.Signal, FinishedAt: time.Now()}
		close(r.done)
	}()
	return nil
}

func (p *process) begun() {
	select {
	case <-p.first:
	default:
		close(p.first)
	}
}

// neverRan ends a process that was not started before its sandbox ended.
func (p *process) neverRan() {
	done := make(chan struct{})
	close(done)
	p.run = &run{done: done, exit: drivers.ExitStatus{
		Code: 128 + int(syscall.SIGKILL), Signal: int(syscall.SIGKILL), FinishedAt: time.Now(),
	}}
	p.begun()
}

// look takes the end of the run into the status.
func (p *process) look() {
	if p.run == nil {
		return
	}
	select {
	case <-p.run.done:
		exit := p.run.exit
		p.status.State, p.status.Exit = drivers.ProcessExited, &exit
	default:
	}
}

// signal sends a signal to the process, which may have ended.
func (r *run) signal(n int) {
	if n > 0 && n <= 64 && r.control != nil {
		_, _ = r.control.Write([]byte{byte(n)})
	}
}

// kill ends the process and everything that it has started: with the first
// process of a PID namespace goes the rest.
func (r *run) kill() {
	r.close.Do(func() {
		if r.control != nil {
			_ = r.control.Close()
			_ = r.cmd.Process.Kill()
		}
	})
}

// wait returns how the run ended.
func (r *run) wait(ctx context.Context) (drivers.ExitStatus, error) {
	select {
	case <-r.done:
		return r.exit, nil
	case <-ctx.Done():
		return drivers.ExitStatus{}, ctx.Err()
	}
}
