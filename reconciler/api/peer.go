package api

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// peerCredentials are the transport credentials of the server's end of a Unix
// socket: the kernel tells who connected. Every RPC is then checked by
// authorize, rather than the handshake refused, so that a stranger reads why.
type peerCredentials struct {
	credentials.TransportCredentials // of the insecure kind: bytes pass as they are
}

func newPeerCredentials(streams *wire.Streams) credentials.TransportCredentials {
	return peerCredentials{streams.Credentials(insecure.NewCredentials())}
}

// ServerHandshake asks the kernel for the user at the other end.
func (c peerCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, fmt.Errorf("control API: %T is not a Unix socket", conn)
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return nil, nil, fmt.Errorf("control API: identify the peer: %w", err)
	}
	var uid int
	var uidErr error
	err = raw.Control(func(fd uintptr) { uid, uidErr = peerUID(int(fd)) })
	if err := errors.Join(err, uidErr); err != nil {
		return nil, nil, fmt.Errorf("control API: identify the peer: %w", err)
	}
	calls, _, err := c.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		return nil, nil, err
	}
	return calls, peerInfo{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		uid:            uid,
	}, nil
}

// Clone returns the credentials, which hold nothing that changes.
func (c peerCredentials) Clone() credentials.TransportCredentials { return c }

// peerInfo is the user at the other end of a connection.
type peerInfo struct {
	credentials.CommonAuthInfo
	uid int
}

// AuthType names the kind of credentials.
func (peerInfo) AuthType() string { return "peer" }

// authorize lets the owner of the daemon and root in.
func authorize(ctx context.Context, owner int) error {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return status.Error(codes.PermissionDenied, "the control API does not know who is calling")
	}
	info, ok := p.AuthInfo.(peerInfo)
	if !ok {
		return status.Error(codes.PermissionDenied, "the control API does not know who is calling")
	}
	if info.uid == owner || info.uid == 0 {
		return nil
	}
	return status.Errorf(codes.PermissionDenied,
		"this daemon belongs to the user with uid %d: only they and root may control it, not uid %d", owner, info.uid)
}
