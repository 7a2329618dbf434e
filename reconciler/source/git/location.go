package git

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"strings"
)

// Location names a branch of a repository, and a directory in it.
type Location struct {
	// URL of the repository: https, ssh or file, and http on this host. It holds no
	// password.
	URL string
	// Branch, without "refs/heads/".
	Branch string
	// Path of the directory, with slashes; empty for the whole repository.
	Path string
}

// String returns "URL#BRANCH" or "URL#BRANCH:PATH".
func (l Location) String() string {
	s := l.URL + "#" + l.Branch
	if l.Path != "" {
		s += ":" + l.Path
	}
	return s
}

// File returns the name by which a file of the repository is shown:
// "URL#BRANCH:FILE".
func (l Location) File(name string) string {
	return l.URL + "#" + l.Branch + ":" + name
}

// ParseLocation reads "URL#BRANCH[:PATH]". Errors never repeat the URL: it may
// hold a password, although it must not.
func ParseLocation(text string) (Location, error) {
	before, fragment, _ := strings.Cut(text, "#")
	branch, dir, _ := strings.Cut(fragment, ":")
	l := Location{URL: before, Branch: branch, Path: dir}
	return l, l.Complete()
}

// Complete checks the location and brings its path into one form.
func (l *Location) Complete() error {
	u, err := l.parseURL()
	if err != nil {
		return err
	}
	switch u.Scheme {
	case "https", "ssh":
	case "http":
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return errors.New("http is not safe over a network: use https or ssh")
		}
	case "file":
		if u.Host != "" {
			return errors.New("a file URL has three slashes: file:///PATH")
		}
	default:
		return errors.New("the URL of a repository begins with https://, ssh:// or file:///")
	}
	if u.Scheme != "file" && u.Host == "" {
		return errors.New("the URL has no host")
	}
	if strings.Trim(u.Path, "/") == "" {
		return errors.New("the URL names no repository")
	}
	if err := checkBranch(l.Branch); err != nil {
		return err
	}
	l.Path = strings.Trim(path.Clean("/"+l.Path), "/")
	return nil
}

// parseURL takes the URL apart and refuses secrets in it.
func (l *Location) parseURL() (*url.URL, error) {
	u, err := url.Parse(l.URL)
	switch {
	case err != nil && strings.Contains(l.URL, "@") && !strings.Contains(l.URL, "://"):
		return nil, errors.New("write ssh://USER@HOST/PATH instead of USER@HOST:PATH")
	case err != nil:
		return nil, errors.New("this is not a URL") // The error would repeat it.
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("the URL of a repository has no query")
	}
	if u.User == nil {
		return u, nil
	}
	if _, set := u.User.Password(); set || u.Scheme != "ssh" {
		return nil, errors.New("the URL holds a user or password: put credentials into a file (credentials-file)")
	}
	return u, nil
}

// checkBranch refuses what git refuses as a branch's name, as far as it matters
// here.
func checkBranch(name string) error {
	if name == "" {
		return errors.New("which branch? write URL#BRANCH")
	}
	bad := strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || strings.HasPrefix(name, "-") ||
		strings.Contains(name, "..") || strings.Contains(name, "//") || strings.HasSuffix(name, ".lock") ||
		strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) })
	if bad {
		return fmt.Errorf("%q is no name of a branch", name)
	}
	return nil
}
