//go:build linux

package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
)

// etcFiles is what a container finds in /etc whatever its image has there.
type etcFiles struct {
	hostname, hosts, resolvConf string
}

func newEtcFiles(req *agentpb.ConfigureRequest) etcFiles {
	return etcFiles{
		hostname:   req.GetHostname() + "\n",
		hosts:      hosts(req.GetHostname(), req.GetHostAliases()),
		resolvConf: resolvConf(req.GetNameservers(), req.GetSearches(), req.GetDnsOptions()),
	}
}

// hostAlias is a line of /etc/hosts, from either service.
type hostAlias interface {
	GetIp() string
	GetHostnames() []string
}

func hosts[A hostAlias](hostname string, aliases []A) string {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	if hostname != "" && hostname != "localhost" {
		fmt.Fprintf(&b, "127.0.1.1\t%s\n", hostname)
	}
	for _, a := range aliases {
		fmt.Fprintf(&b, "%s\t%s\n", a.GetIp(), strings.Join(a.GetHostnames(), " "))
	}
	return b.String()
}

func resolvConf(nameservers, searches, options []string) string {
	var b strings.Builder
	for _, ns := range nameservers {
		fmt.Fprintf(&b, "nameserver %s\n", ns)
	}
	if len(searches) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(searches, " "))
	}
	if len(options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(options, " "))
	}
	return b.String()
}

// write writes the files into a directory of a container's own, which may have
// its way with them, and returns where each belongs.
func (e etcFiles) write(dir string) ([]bindFile, error) {
	if err := mkdir(dir); err != nil {
		return nil, err
	}
	var binds []bindFile
	for _, f := range []struct{ name, content string }{
		{"hostname", e.hostname}, {"hosts", e.hosts}, {"resolv.conf", e.resolvConf},
	} {
		path := filepath.Join(dir, f.name)
		if err := os.WriteFile(path, []byte(f.content), 0o644); err != nil {
			return nil, err
		}
		binds = append(binds, bindFile{Source: path, Target: "/etc/" + f.name})
	}
	return binds, nil
}

// rewrite changes what differs from was in the files that a container has.
func (e etcFiles) rewrite(dir string, was etcFiles) error {
	for _, f := range []struct{ name, content, was string }{
		{"hosts", e.hosts, was.hosts}, {"resolv.conf", e.resolvConf, was.resolvConf},
	} {
		if f.content == f.was {
			continue
		}
		// In place: what is mounted is this very file.
		if err := os.WriteFile(filepath.Join(dir, f.name), []byte(f.content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
