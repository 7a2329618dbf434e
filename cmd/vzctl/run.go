package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sigs.k8s.io/yaml"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// runFlags are run's own: what becomes of the manifest.
type runFlags struct {
	runOptions
	detach, rm bool
	dryRun     bool
	output     string
	timeout    time.Duration
	keys       string
	volumes    []string
}

func (a *app) runCmd() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run IMAGE [COMMAND ARG…]",
		Short: "Run an image in a new sandbox",
		Long: `Write the manifest of a sandbox with one container into the daemon's folder, show
what it prints, and end with its exit code. Ctrl-C stops it.

The manifest stays, for you to edit and commit; --rm removes it at the end, and with
it the VM. A container that ends is not started again unless --restart says so.
COMMAND takes the place of the image's arguments, --entrypoint that of its program.`,
		Example: `  vzctl run --rm docker.io/library/alpine:3 uname -a
  vzctl run -d --name web -m 512m --restart always docker.io/library/nginx:alpine
  vzctl run --rm -e TERM --env-file job.env -w /srv registry.example.com/job:7
  vzctl run -d -p 8080:80 docker.io/library/nginx:alpine
  vzctl run --name web --dry-run docker.io/library/nginx:alpine > manifests/web.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("say which image to run: IMAGE [COMMAND ARG…]")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f.args = args[1:]
			f.entrypointSet = cmd.Flags().Changed("entrypoint")
			data, err := a.runManifest(&f, args[0])
			if err != nil {
				return err
			}
			if f.dryRun {
				return a.printManifest(data, f.output)
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			return a.runSandbox(cmd.Context(), client, &f, data)
		},
	}
	fl := cmd.Flags()
	fl.SetInterspersed(false) // what follows the image is the command's
	fl.StringVarP(&f.namespace, "namespace", "n", manifests.DefaultNamespace, "namespace of the sandbox")
	fl.StringVar(&f.name, "name", "", "name of the sandbox (default the image's with something random)")
	fl.BoolVarP(&f.detach, "detach", "d", false, "only wait until it has started, and print its name")
	fl.BoolVar(&f.rm, "rm", false, "remove the sandbox at the end")
	fl.BoolVarP(&f.stdin, "interactive", "i", false, "pass standard input on")
	fl.BoolVarP(&f.tty, "tty", "t", false, "give the command a terminal")
	fl.StringArrayVarP(&f.env, "env", "e", nil, "NAME=VALUE for its environment, or NAME to pass on one's own; may be repeated")
	fl.StringArrayVar(&f.envFiles, "env-file", nil, "file of such lines; may be repeated")
	fl.StringVar(&f.cpus, "cpus", "", "number of CPUs of the VM")
	fl.StringVarP(&f.memory, "memory", "m", "", "memory of the VM: 512m, 2g, 512Mi")
	fl.StringVar(&f.restart, "restart", "no", "when to start it again: no, on-failure or always")
	fl.StringVarP(&f.workingDir, "workdir", "w", "", "directory to run it in (default the image's)")
	fl.StringVarP(&f.user, "user", "u", "", "user to run it as: UID or UID:GID (default the image's)")
	fl.StringVar(&f.entrypoint, "entrypoint", "", "program to run instead of the image's")
	fl.StringArrayVarP(&f.labels, "label", "l", nil, "NAME=VALUE label of the sandbox; may be repeated")
	fl.DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long it may take to start; 0 is for ever")
	fl.BoolVar(&f.dryRun, "dry-run", false, "only print the manifest")
	fl.StringVar(&f.keys, "detach-keys", defaultDetachKeys, "keys that leave the terminal and the command running")
	fl.StringVarP(&f.output, "output", "o", "yaml", "form of the printed manifest: yaml or json")
	fl.StringArrayVar(&f.networks, "network", nil, "network to put it on (default none, or \"default\" with --publish); may be repeated")
	fl.StringArrayVarP(&f.publish, "publish", "p", nil, "[IP:]HOSTPORT:PORT[/udp] of the host's to lead to it (default IP 127.0.0.1); may be repeated")
	fl.StringArrayVar(&f.volumes, "volume", nil, "not supported: see --dry-run")
	// It fails for flags that do not exist only.
	_ = fl.MarkHidden("volume")
	a.completeFlag(cmd, "restart", "no", "on-failure", "always")
	a.completeFlag(cmd, "output", "yaml", "json")
	return cmd
}

// runManifest returns the manifest that run was asked for, checked.
func (a *app) runManifest(f *runFlags, image string) ([]byte, error) {
	switch {
	case len(f.volumes) > 0, a.verbose && strings.HasPrefix(image, "/") && strings.Contains(image, ":/"):
		return nil, usagef("--volume: run mounts no directories: write a hostPath volume into what --dry-run prints (and -v is --verbose)")
	case f.rm && f.detach:
		return nil, usagef("--rm needs somebody to wait for the end, and --detach does not wait: give one of them")
	case f.detach && (f.stdin || f.tty):
		return nil, usagef("--detach leaves nobody to type or read: leave out --interactive and --tty")
	case f.rm && f.restart != "no" && f.restart != "Never":
		return nil, usagef("--rm removes the sandbox when it ends, --restart starts it again: give one of them")
	case f.output != "yaml" && f.output != "json":
		return nil, usagef("unknown output %q: use yaml or json", f.output)
	}
	if _, err := parseDetachKeys(f.keys); err != nil {
		return nil, err
	}
	var err error
	if f.image, err = absoluteReference(image); err != nil {
		return nil, err
	}
	if f.name == "" {
		f.name = generateName(f.image)
	}
	lookup := func(name string) (string, bool) {
		value := a.getenv(name)
		return value, value != ""
	}
	data, err := f.manifest(lookup, os.ReadFile)
	if err != nil {
		return nil, err
	}
	// What is wrong is said in words of the manifest: these are what there is to
	// choose other ones from.
	_, errs := manifests.Parse("the manifest", data)
	var all []error
	for _, e := range errs {
		message := e.Message
		if e.Field != "" {
			message = e.Field + ": " + message
		}
		all = append(all, errors.New(message))
	}
	if err := errors.Join(all...); err != nil {
		return nil, &usageError{err}
	}
	return data, nil
}

func (a *app) printManifest(data []byte, form string) error {
	if form == "json" {
		raw, err := yaml.YAMLToJSON(data)
		if err != nil {
			return err
		}
		format, _, err := printer.ParseFormat("json")
		if err != nil {
			return err
		}
		return format.Object(a.stdout, raw)
	}
	_, err := a.stdout.Write(data)
	return err
}

// runSandbox makes a sandbox of a manifest and sees it through.
func (a *app) runSandbox(ctx context.Context, client *api.Client, f *runFlags, data []byte) (err error) {
	if err := a.needImage(ctx, client, f.image); err != nil {
		return err
	}
	ref := &api.Ref{Kind: manifests.KindSandbox, Namespace: f.namespace, Name: f.name}
	if err := a.create(ctx, client, ref, data); err != nil {
		return err
	}
	r := &runner{app: a, client: client, ref: ref, progress: newStatusLine(a.stderr)}
	defer func() {
		if f.rm {
			switch rerr := r.remove(ctx); {
			case rerr != nil && err != nil: // which may be no more than an exit code
				fmt.Fprintf(a.stderr, "vzctl: %v\n", rerr)
			case rerr != nil:
				err = rerr
			}
		}
		r.log.close()
		r.progress.clear()
	}()
	if err := r.started(ctx, f.timeout); err != nil {
		return r.interrupted(ctx, err, f.rm)
	}
	if f.detach {
		r.progress.clear()
		return a.printf("%s\n", f.name)
	}
	r.stdin, r.tty = f.stdin, f.tty
	r.detachKeys, _ = parseDetachKeys(f.keys) // checked before
	code, err := r.toTheEnd(ctx)
	if errors.Is(err, errDetached) {
		f.rm = false // for whoever comes back
		fmt.Fprintf(a.stderr, "%s goes on: come back with \"vzctl attach %s\", remove it with \"vzctl delete sandbox/%s\"\n", f.name, f.name, f.name)
		return nil
	}
	if err != nil {
		return r.interrupted(ctx, err, f.rm)
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}

// create writes the manifest into the daemon's folder. From then on the sandbox
// is there, so that no signal may end this half-way.
func (a *app) create(ctx context.Context, client *api.Client, ref *api.Ref, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	name := strings.ToLower(ref.GetKind()) + "-" + ref.GetName() + ".yaml"
	if ns := ref.GetNamespace(); ns != manifests.DefaultNamespace {
		name = strings.ToLower(ref.GetKind()) + "-" + ns + "-" + ref.GetName() + ".yaml"
	}
	resp, err := client.Apply(ctx, &api.ApplyRequest{FileName: name, Data: data, Create: true})
	if err != nil {
		return err
	}
	for _, r := range resp.GetResults() {
		for _, w := range r.GetWarnings() {
			fmt.Fprintf(a.stderr, "Warning: %s: %s\n", refName(r.GetObject()), printer.Sanitize(w))
		}
	}
	return nil
}

// callTimeout bounds a call of the daemon that must not be cut off.
const callTimeout = 30 * time.Second

// needImage fetches the image unless the daemon has it: before there is a
// manifest that nothing can come of.
func (a *app) needImage(ctx context.Context, client *api.Client, image string) error {
	have, err := client.ListImages(ctx, &api.ListImagesRequest{})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(have.GetImages(), func(i *api.Image) bool { return i.GetReference() == image }) {
		return nil
	}
	stream, err := client.PullImage(ctx, &api.PullImageRequest{Reference: image})
	if err != nil {
		return err
	}
	var progress pullProgress = noProgress{}
	if printer.IsTerminal(a.stderr) {
		progress = newBarProgress(a.stderr)
	}
	_, err = receivePull(stream.Recv, progress)
	progress.end()
	return err
}

// noProgress keeps a pull to itself.
type noProgress struct{}

func (noProgress) update(*api.PullImageResponse) error { return nil }
func (noProgress) end()                                {}
