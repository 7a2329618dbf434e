package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vzreconciler/vzreconciler/internal/agekeys"
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
		cfg       = defaultConfig()
		file      string
		printOnly bool
	)
	cmd := &cobra.Command{
		Use:   "vzreconciler",
		Short: "Keep one lightweight VM per Sandbox manifest in a folder",
		Long: `vzreconciler watches directories of manifests, and branches of Git repositories,
and keeps one lightweight Linux VM per Sandbox converged to what they say.

SIGTERM or SIGINT ends it and leaves the VMs running: the next one takes them
over. A second signal ends it at once. SIGHUP has it read all manifests anew, and
ask Git repositories for news.`,
		Example: `  vzreconciler
  vzreconciler --manifests ~/vms --state-dir ~/.local/share/vms --metrics-addr 127.0.0.1:9753
  vzreconciler --git https://git.example.com/fleet.git#main:hosts/lab-1
  vzreconciler --config /etc/vzreconciler.yaml
  vzreconciler --config /etc/vzreconciler.yaml --print-config`,
		Version:       version.String(),
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	cfg.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&file, "config", "", "YAML file with the same names as keys; flags come first")
	cmd.Flags().BoolVar(&printOnly, "print-config", false, "check the configuration, print what it comes to, and end")
	cmd.SetVersionTemplate("vzreconciler {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{withoutValue(err)} })
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
		if printOnly {
			if err := agekeys.File(cfg.ageKey).Check(); err != nil {
				return &usageError{fmt.Errorf("--sops-age-key-file: %w", err)}
			}
			return printConfig(cmd.OutOrStdout(), cmd.Flags())
		}
		return run(cmd.Context(), cfg, stderr)
	}
	return cmd
}

// withoutValue takes the value out of an error about --git: it may hold a
// password, although it must not.
func withoutValue(err error) error {
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok && bad.GetFlag().Name == "git" {
		return fmt.Errorf("--git: %w", bad.Unwrap())
	}
	return err
}
