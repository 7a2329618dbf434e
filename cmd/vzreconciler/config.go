package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// config is what the command line and the configuration file say.
type config struct {
	manifests   []string
	git         []gitSource
	gitInterval time.Duration
	hookSecret  string
	stateDir    string
	metricsAddr string
	resync      time.Duration
	maxPrune    int
	logFormat   string
	logLevel    string
	pluginDirs  []string
	runtime     string

	registryMirrors, insecureRegistries, registryCAs []string
}

func defaultConfig() config {
	return config{
		gitInterval: time.Minute,
		metricsAddr: "127.0.0.1:9753",
		resync:      time.Minute,
		maxPrune:    -1,
		logFormat:   "text",
		logLevel:    "info",
	}
}

func (c *config) addFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&c.manifests, "manifests", c.manifests, "directories of manifests, with commas or repeated (default the user's configuration directory, unless there is --git)")
	f.Var(&gitSources{list: &c.git}, "git", "branch of a Git repository with manifests, over https or from file:///; repeated for several; a configuration file can say more of each")
	f.DurationVar(&c.gitInterval, "git-interval", c.gitInterval, "how often to ask Git repositories for news")
	f.StringVar(&c.hookSecret, "git-webhook-secret-file", c.hookSecret, "file with the secret of webhooks at POST /hooks/git of --metrics-addr; empty for none")
	f.StringVar(&c.stateDir, "state-dir", c.stateDir, "state directory (default $VZ_STATE_DIR, else the user's data directory)")
	f.StringVar(&c.metricsAddr, "metrics-addr", c.metricsAddr, "address of /metrics, /healthz, /readyz and /hooks/git; empty for none")
	f.DurationVar(&c.resync, "resync", c.resync, "how often to read all manifests without being told of a change")
	f.IntVar(&c.maxPrune, "max-prune", c.maxPrune, "how many sandboxes may be removed at once unconfirmed; -1 is half of them, or up to three")
	f.StringVar(&c.logFormat, "log-format", c.logFormat, "text or json")
	f.StringVar(&c.logLevel, "log-level", c.logLevel, "debug, info, warn or error")
	f.StringSliceVar(&c.pluginDirs, "plugin-dir", c.pluginDirs, "directories of plugins, looked in before the installed ones")
	f.StringSliceVar(&c.registryMirrors, "registry-mirror", c.registryMirrors, "HOST=URL: mirror that is asked for images before the registry itself, as docker.io=https://mirror.example.org; repeated for several")
	f.StringSliceVar(&c.insecureRegistries, "insecure-registry", c.insecureRegistries, "host of a registry or mirror that has no TLS, or a certificate that nobody knows")
	f.StringSliceVar(&c.registryCAs, "registry-ca-file", c.registryCAs, "HOST=FILE: certificates (PEM) to trust for a registry or mirror")
	f.StringVar(&c.runtime, "runtime", c.runtime, "runtime of sandboxes that name none (default qemu; vz on macOS)")
}

// complete checks the configuration and fills in what depends on the user.
func (c *config) complete() error {
	if err := c.completePaths(); err != nil {
		return err
	}
	if err := c.completeGit(); err != nil {
		return err
	}
	if _, err := c.registries(); err != nil {
		return err
	}
	if c.resync < time.Second {
		return fmt.Errorf("--resync %s: must be at least 1s", c.resync)
	}
	if c.maxPrune < -1 {
		return fmt.Errorf("--max-prune %d: must be a number of sandboxes, or -1", c.maxPrune)
	}
	if c.logFormat != "text" && c.logFormat != "json" {
		return fmt.Errorf("--log-format %q: must be text or json", c.logFormat)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.logLevel)); err != nil {
		return fmt.Errorf("--log-level %q: must be debug, info, warn or error", c.logLevel)
	}
	if c.metricsAddr != "" {
		if _, _, err := net.SplitHostPort(c.metricsAddr); err != nil {
			return fmt.Errorf("--metrics-addr %q: must be HOST:PORT: %w", c.metricsAddr, err)
		}
	}
	return nil
}

func (c *config) completePaths() error {
	if c.stateDir == "" {
		dir, err := bundle.DefaultStateDir()
		if err != nil {
			return err
		}
		c.stateDir = string(dir)
	}
	if len(c.manifests) == 0 && len(c.git) == 0 {
		dir, err := bundle.DefaultManifestsDir()
		if err != nil {
			return err
		}
		c.manifests = []string{dir}
	}
	var err error
	if c.stateDir, err = filepath.Abs(c.stateDir); err != nil {
		return err
	}
	for _, dirs := range [][]string{c.manifests, c.pluginDirs} {
		for i, dir := range dirs {
			if dir == "" {
				return errors.New("the name of a directory is empty")
			}
			if dirs[i], err = filepath.Abs(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// registries is what the flags say of image registries.
func (c *config) registries() (images.Registries, error) {
	return images.ParseRegistries(c.registryMirrors, c.insecureRegistries, c.registryCAs)
}
