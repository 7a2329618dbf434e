package netswitch

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// resolvConf says whom this host asks for names.
	resolvConf = "/etc/resolv.conf"
	// maxServers is how many of them are asked, as the C library has it.
	maxServers = 3
	// askTimeout is what each has to answer.
	askTimeout = 3 * time.Second
)

var errNoServer = errors.New("no server for names is known")

// ask passes a question on, as it is, to the given servers, else to those of the
// host, and returns the first answer. An answer that was cut short for UDP is
// passed on too: who asked asks again over TCP.
func ask(ctx context.Context, servers []string, question []byte, network string) ([]byte, error) {
	if len(servers) == 0 {
		servers = hostServers(resolvConf)
	}
	err := errNoServer
	for _, server := range servers[:min(len(servers), maxServers)] {
		var answer []byte
		if answer, err = askOne(ctx, server, question, network); err == nil {
			return answer, nil
		}
	}
	return nil, err
}

func askOne(ctx context.Context, server string, question []byte, network string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if network == "tcp" {
		if err := writeMessage(conn, question); err != nil {
			return nil, err
		}
		return readMessage(conn)
	}
	if _, err := conn.Write(question); err != nil {
		return nil, err
	}
	answer := make([]byte, maxDatagram)
	for {
		n, err := conn.Read(answer)
		if err != nil {
			return nil, err
		}
		// Another's answer, come late, is not this one's.
		if n >= 2 && len(question) >= 2 && answer[0] == question[0] && answer[1] == question[1] {
			return answer[:n], nil
		}
	}
}

// hostServers reads the servers out of a resolv.conf.
func hostServers(path string) []string {
	f, err := os.Open(path) //nolint:gosec // a constant
	if err != nil {
		return nil
	}
	defer f.Close()
	var servers []string
	for lines := bufio.NewScanner(f); lines.Scan() && len(servers) < maxServers; {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "nameserver" {
			if addr, err := netip.ParseAddr(fields[1]); err == nil {
				servers = append(servers, serverAddress(addr))
			}
		}
	}
	return servers
}

func serverAddress(addr netip.Addr) string {
	return net.JoinHostPort(addr.String(), strconv.Itoa(dnsPort))
}
