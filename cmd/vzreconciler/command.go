package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/version"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a command line or configuration file that cannot be meant.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func exitCode(err error) int {
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// newCommand returns the command line, which ends in run.
func newCommand(stderr io.Writer, run func(ctx context.Context, cfg config, stderr io.Writer) error) *cobra.Command {
	var (
		cfg  = defaultConfig()
		file string
	)
	cmd := &cobra.Command{
		Use:   "vzreconciler",
		Short: "Keep one lightweight VM per Sandbox manifest in a folder",
		Long: `vzreconciler watches directories of manifests and keeps one lightweight Linux VM
per Sandbox converged to what they say.

SIGTERM or SIGINT ends it and leaves the VMs running: the next one takes them
over. A second signal ends it at once. SIGHUP has it read all manifests anew.`,
		Example: `  vzreconciler
  vzreconciler --manifests ~/vms --state-dir ~/.local/share/vms --metrics-addr 127.0.0.1:9753
  vzreconciler --config /etc/vzreconciler.yaml`,
		Version:       version.String(),
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	cfg.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&file, "config", "", "YAML file with the same names as keys; flags come first")
	cmd.SetVersionTemplate("vzreconciler {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if file != "" {
			if err := loadConfig(cmd.Flags(), file); err != nil {
				return err
			}
		}
		if err := cfg.complete(); err != nil {
			return &usageError{err}
		}
		return run(cmd.Context(), cfg, stderr)
	}
	return cmd
}
