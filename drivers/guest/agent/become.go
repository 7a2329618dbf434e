//go:build linux

package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// program is what is left to do once a thread has become the process: to change
// the user, and to execute.
type program struct {
	path string
	args []string
	env  []string
	user syscall.Credential
}

// become turns the calling thread, whose root directory is the container's,
// into what the process is to be, but for its user. The thread is good for
// nothing else after that. stdio are the descriptors that the process will
// have, for its user to own.
func become(spec processSpec, stdio []int) (program, error) {
	who, err := lookupUser(spec.User)
	if err != nil {
		return program{}, fmt.Errorf("%w: user %q: %w", drivers.ErrInvalidArgument, spec.User, err)
	}
	for _, fd := range stdio {
		if err := giveTo(fd, who.Uid); err != nil {
			return program{}, err
		}
	}
	if err := enterDir(spec.Cwd); err != nil {
		return program{}, err
	}
	if err := dropCapabilities(spec.Capabilities); err != nil {
		return program{}, err
	}
	if spec.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return program{}, fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	env := spec.Env
	if _, ok := lookupEnv(env, "HOME"); !ok {
		env = append(env, "HOME="+who.Home)
	}
	search, _ := lookupEnv(env, "PATH")
	path, err := lookExecutable(spec.Args[0], search)
	if err != nil {
		return program{}, err
	}
	return program{path: path, args: spec.Args, env: env, user: credential(who, spec.Groups)}, nil
}

// execError says why a program could not be executed.
func execError(path string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		// It was there a moment ago: what is missing is what it names.
		return fmt.Errorf("%w: exec: %q: no such file or directory: its interpreter or loader is missing", drivers.ErrNotFound, path)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOEXEC), errors.Is(err, unix.E2BIG),
		errors.Is(err, unix.ELOOP), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: exec: %q: %w", drivers.ErrInvalidArgument, path, err)
	}
	return fmt.Errorf("exec: %q: %w", path, err)
}

// lookExecutable finds a command as execvp does.
func lookExecutable(name, search string) (string, error) {
	if strings.Contains(name, "/") {
		switch err := isExecutable(name); {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
			return "", fmt.Errorf("%w: exec: %q: no such file or directory", drivers.ErrNotFound, name)
		case err != nil:
			return "", fmt.Errorf("%w: exec: %q: %w", drivers.ErrInvalidArgument, name, err)
		}
		return name, nil
	}
	for _, dir := range filepath.SplitList(search) {
		if dir == "" {
			dir = "."
		}
		path := filepath.Join(dir, name)
		if dir == "." {
			path = "./" + name
		}
		if isExecutable(path) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: exec: %q: executable file not found in $PATH", drivers.ErrNotFound, name)
}

func isExecutable(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return unix.EISDIR
	case st.Mode&unix.S_IFMT != unix.S_IFREG, st.Mode&0o111 == 0:
		return unix.EACCES
	}
	return nil
}

// enterDir makes the working directory, where it is not there, and enters it.
func enterDir(dir string) error {
	err := unix.Chdir(dir)
	if errors.Is(err, unix.ENOENT) {
		if err = os.MkdirAll(dir, 0o755); err == nil {
			err = unix.Chdir(dir)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: working directory %q: %w", drivers.ErrInvalidArgument, dir, err)
	}
	return nil
}

// giveTo makes the process's user the owner of one of its streams, so that it
// can open /dev/stdout and the like.
func giveTo(fd, uid int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	isPipe := st.Mode&unix.S_IFMT == unix.S_IFIFO
	isTerminal := st.Mode&unix.S_IFMT == unix.S_IFCHR && unix.Major(st.Rdev) >= 136 && unix.Major(st.Rdev) <= 143
	if !isPipe && !isTerminal {
		return nil // /dev/null belongs to all
	}
	return unix.Fchown(fd, uid, -1)
}

// maxAccounts bounds what is read of the container's /etc/passwd and /etc/group.
const maxAccounts = 4 << 20

// lookupUser finds a user in the accounts of the container.
func lookupUser(spec string) (*user.ExecUser, error) {
	passwd, err := openAccounts("/etc/passwd")
	if err != nil {
		return nil, err
	}
	defer passwd.Close()
	group, err := openAccounts("/etc/group")
	if err != nil {
		return nil, err
	}
	defer group.Close()
	return user.GetExecUser(spec, &user.ExecUser{Home: "/"},
		io.LimitReader(passwd, maxAccounts), io.LimitReader(group, maxAccounts))
}

// openAccounts opens a file that the image made: it may be missing, and it may
// be anything. A pipe, say, must not keep us waiting.
func openAccounts(path string) (io.ReadCloser, error) {
	none := io.NopCloser(strings.NewReader(""))
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return none, nil //nolint:nilerr // an image without accounts has none
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		f.Close()
		return none, err
	}
	return f, nil
}

func credential(who *user.ExecUser, more []uint32) syscall.Credential {
	c := syscall.Credential{Uid: uint32(who.Uid), Gid: uint32(who.Gid), Groups: []uint32{}}
	for _, gid := range who.Sgids {
		c.Groups = append(c.Groups, uint32(gid))
	}
	c.Groups = append(c.Groups, more...)
	return c
}

// execute changes the user of the calling thread and turns the process into the
// program. It returns only with an error.
func (p program) execute() error {
	// The functions of package syscall would change all threads, and wait for
	// them: execution leaves none but this one.
	if err := setGroups(p.user.Groups); err != nil {
		return fmt.Errorf("set supplementary groups: %w", err)
	}
	gid, uid := uintptr(p.user.Gid), uintptr(p.user.Uid)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return fmt.Errorf("set group %d: %w", gid, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("set user %d: %w", uid, errno)
	}
	return execError(p.args[0], syscall.Exec(p.path, p.args, p.env))
}
