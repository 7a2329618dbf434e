package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// Access names the files with what it takes to reach a repository. They are read
// each time: a new token or key needs no restart.
type Access struct {
	// CredentialsFile holds "USER:PASSWORD", or a token alone; for https.
	CredentialsFile string
	// CAFile holds the certificates, in PEM, of those who vouch for the server,
	// instead of the system's; for https.
	CAFile string
	// SSHKeyFile is a private key without a passphrase; for ssh.
	SSHKeyFile string
	// KnownHostsFile is in OpenSSH's format; for ssh. A server that is not in it is
	// not spoken to.
	KnownHostsFile string
}

// Check says which of the files does not fit the URL, or is missing.
func (a Access) Check(l Location) error {
	u, err := l.parseURL()
	if err != nil {
		return err
	}
	web := u.Scheme == "https" || u.Scheme == "http"
	switch {
	case a.CredentialsFile != "" && !web:
		return errors.New("credentials-file is for https")
	case a.CAFile != "" && !web:
		return errors.New("ca-file is for https")
	case (a.SSHKeyFile != "" || a.KnownHostsFile != "") && u.Scheme != "ssh":
		return errors.New("ssh-key-file and known-hosts-file are for ssh")
	case u.Scheme == "ssh" && (a.SSHKeyFile == "" || a.KnownHostsFile == ""):
		return errors.New("ssh needs ssh-key-file and known-hosts-file, in the configuration file")
	}
	return nil
}

// credentials returns the user and password of CredentialsFile; both are empty
// if there is none.
func (a Access) credentials() (user, password string, err error) {
	if a.CredentialsFile == "" {
		return "", "", nil
	}
	data, err := ReadSecret(a.CredentialsFile)
	if err != nil {
		return "", "", err
	}
	user, password, found := strings.Cut(string(data), ":")
	if !found {
		// The hosts want some name beside a token, and mind not which.
		user, password = "git", user
	}
	if user == "" || password == "" || strings.ContainsAny(string(data), "\r\n") {
		return "", "", fmt.Errorf("%s: want one line, USER:PASSWORD or a token", a.CredentialsFile)
	}
	return user, password, nil
}

// maxAccessFile bounds a file with secrets or keys.
const maxAccessFile = 1 << 20

// ReadSecret reads a file that nobody but its owner, this user or root, may read
// or write, without blanks at either end. It must hold something.
func ReadSecret(path string) ([]byte, error) {
	data, err := readOwn(path, 0o077, "chmod 600 it")
	if err != nil {
		return nil, err
	}
	if data = bytes.TrimSpace(data); len(data) == 0 {
		return nil, fmt.Errorf("%s is empty", path)
	}
	return data, nil
}

// readTrusted reads a file that nobody but its owner, this user or root, may
// write: keys that are believed.
func readTrusted(path string) ([]byte, error) {
	return readOwn(path, 0o022, "chmod go-w it")
}

func readOwn(path string, forbidden os.FileMode, remedy string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // named in the configuration
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !fi.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%s belongs to another user", path)
	case fi.Mode().Perm()&forbidden != 0:
		return nil, fmt.Errorf("%s is open to others (mode %04o): %s", path, fi.Mode().Perm(), remedy)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxAccessFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxAccessFile {
		return nil, fmt.Errorf("%s is bigger than %d bytes", path, maxAccessFile)
	}
	return data, nil
}
