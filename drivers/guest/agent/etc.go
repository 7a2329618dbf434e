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

func hosts(hostname string, aliases []*agentpb.HostAlias) string {
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
