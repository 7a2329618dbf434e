package git

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vzreconciler/vzreconciler/internal/state"
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
	data, err := state.ReadSecret(a.CredentialsFile)
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
