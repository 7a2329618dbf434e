package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) logsCmd() *cobra.Command {
	var (
		sel        selection
		req        api.LogsRequest
		since      string
		timestamps bool
	)
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Show what a container printed",
		Long: `Show what a container printed: its standard output on standard output, its
standard error on standard error. --console shows the guest's kernel and agent.`,
		Example: `  vzctl logs web --tail=20
  vzctl logs -f web -c nginx --timestamps
  vzctl logs web --since=10m
  vzctl logs web --console`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeSandbox,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseSandbox(args[0], sel.namespace)
			if err != nil {
				return err
			}
			req.Object = ref
			if since != "" {
				t, err := parseSince(time.Now(), since)
				if err != nil {
					return err
				}
				req.Since = timestamppb.New(t)
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			return a.logs(cmd.Context(), client, &req, timestamps)
		},
	}
	sel.addNamespace(cmd)
	f := cmd.Flags()
	f.BoolVarP(&req.Follow, "follow", "f", false, "go on with what is printed from now on")
	f.StringVarP(&req.Container, "container", "c", "", "container whose log it is (default the first)")
	f.Int64Var(&req.Tail, "tail", -1, "only the last so many lines; -1 is all")
	f.StringVar(&since, "since", "", "only lines since then: 10m ago, or a time as 2026-11-23T17:51:18Z")
	f.BoolVar(&timestamps, "timestamps", false, "put its time before each line")
	f.BoolVar(&req.Console, "console", false, "the guest's console instead of a container")
	return cmd
}

// parseSince reads "10m", or a time.
func parseSince(now time.Time, text string) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, usagef("--since=%s: want a duration as 10m, or a time as 2026-11-23T17:51:18Z", text)
	}
	return t, nil
}

func (a *app) logs(ctx context.Context, client *api.Client, req *api.LogsRequest, timestamps bool) error {
	stream, err := client.Logs(ctx, req)
	if err != nil {
		return err
	}
	var out io.WriteCloser = nopCloser{a.stdout}
	if !req.GetConsole() {
		out = &logDecoder{stdout: a.stdout, stderr: a.stderr, timestamps: timestamps}
	}
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return errors.Join(out.Close(), err)
		}
		if _, err := out.Write(piece.GetData()); err != nil {
			return err
		}
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
