package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) dialCmd() *cobra.Command {
	var sel selection
	cmd := &cobra.Command{
		Use:   "dial NAME PORT",
		Short: "Connect standard input and output to a port in a sandbox",
		Long: `Connect standard input and output to a TCP port on a sandbox's loopback. The end
of the input is passed on; it ends when the sandbox closes the connection, as an
ssh ProxyCommand has to.`,
		Example: `  vzctl dial web 80
  printf 'GET / HTTP/1.0\r\n\r\n' | vzctl dial web 80`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeSandbox,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseSandbox(args[0], sel.namespace)
			if err != nil {
				return err
			}
			port, err := parsePort(args[1])
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			return a.dialPort(cmd.Context(), client, ref, port)
		},
	}
	sel.addNamespace(cmd)
	return cmd
}

func parsePort(text string) (int, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, usagef("%q is not a port from 1 to 65535", text)
	}
	return int(port), nil
}

func (a *app) dialPort(ctx context.Context, client *api.Client, ref *api.Ref, port int) error {
	conn, err := client.Dial(ctx, ref, drivers.Address{Port: port})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { wire.Abort(conn) })()
	// It ends with the read under way: a reader cannot be interrupted.
	go func() {
		if _, err := io.Copy(conn, a.stdin); err == nil {
			_ = conn.CloseWrite()
		}
	}()
	if _, err := io.Copy(a.stdout, conn); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the connection to port %d of %s broke: %w", port, refName(ref), err)
	}
	return nil
}
