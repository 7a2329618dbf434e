package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/internal/printer"
)

func (a *app) registryCmd() *cobra.Command {
	return group("registry", "Log in to image registries and out", `  vzctl registry login registry.example.org
  vzctl registry list`,
		a.registryLoginCmd(), a.registryLogoutCmd(), a.registryListCmd())
}

// maxPassword bounds what is read from standard input.
const maxPassword = 64 << 10

func (a *app) registryLoginCmd() *cobra.Command {
	var (
		auth                     authn.AuthConfig
		passwordStdin, unsecured bool
	)
	cmd := &cobra.Command{
		Use:   "login [REGISTRY]",
		Short: "Keep credentials for a registry, once it has taken them",
		Long: `Keep a user name and password for a registry (default docker.io), once it has taken
them. They are kept where docker keeps them, in ~/.docker/config.json ($DOCKER_CONFIG),
or by the credential helper that this file names: docker, podman and skopeo use them
too. The daemon must run as the same user; a sandbox's own credentials are its
imagePullSecrets.`,
		Example: `  vzctl registry login registry.example.org
  pass show registry | vzctl registry login -u ci --password-stdin registry.example.org`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			host := "docker.io"
			if len(args) > 0 {
				host = args[0]
			}
			if err := a.askCredentials(&auth, passwordStdin); err != nil {
				return err
			}
			return a.login(cmd.Context(), host, auth, unsecured)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&auth.Username, "username", "u", "", "user name (default is asked for)")
	f.BoolVar(&passwordStdin, "password-stdin", false, "read the password from standard input")
	f.BoolVar(&unsecured, "insecure", false, "the registry has no TLS, or a certificate that nobody knows")
	return cmd
}

// askCredentials reads what the flags have not said.
func (a *app) askCredentials(auth *authn.AuthConfig, passwordStdin bool) error {
	if passwordStdin {
		if auth.Username == "" {
			return usagef("--password-stdin needs --username")
		}
		b, err := io.ReadAll(io.LimitReader(a.stdin, maxPassword))
		auth.Password = strings.TrimRight(string(b), "\r\n")
		if err == nil && auth.Password == "" {
			err = errors.New("standard input holds no password")
		}
		return err
	}
	f, ok := a.stdin.(*os.File)
	if !ok || !printer.IsTerminal(a.stdin) {
		return usagef("standard input is no terminal to ask for the password at: use --username and --password-stdin")
	}
	if auth.Username == "" {
		fmt.Fprint(a.stderr, "Username: ")
		line, err := bufio.NewReader(f).ReadString('\n')
		if err != nil {
			return err
		}
		if auth.Username = strings.TrimSpace(line); auth.Username == "" {
			return errors.New("no user name was given")
		}
	}
	fmt.Fprint(a.stderr, "Password: ")
	password, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.stderr)
	auth.Password = string(password)
	if err == nil && auth.Password == "" {
		err = errors.New("no password was given")
	}
	return err
}

func (a *app) login(ctx context.Context, host string, auth authn.AuthConfig, unsecured bool) error {
	var registries images.Registries
	if unsecured {
		registries.Insecure = []string{host}
	}
	if err := images.CheckLogin(ctx, host, auth, registries); err != nil {
		return err
	}
	file, err := dockerConfig()
	if err != nil {
		return err
	}
	server := credentialsKey(host)
	err = file.GetCredentialsStore(server).Store(types.AuthConfig{ServerAddress: server, Username: auth.Username, Password: auth.Password})
	if err != nil {
		return fmt.Errorf("keep the credentials in %s: %w", file.GetFilename(), err)
	}
	return a.printf("%s takes these credentials; they are kept in %s\n", host, keptIn(file, server))
}

// keptIn names where credentials lie, for people.
func keptIn(file *configfile.ConfigFile, server string) string {
	if helper := cmp.Or(file.CredentialHelpers[server], file.CredentialsStore); helper != "" {
		return "docker-credential-" + helper
	}
	return file.GetFilename()
}

func (a *app) registryLogoutCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "logout [REGISTRY]",
		Short:   "Forget the credentials for a registry",
		Example: `  vzctl registry logout registry.example.org`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			host := "docker.io"
			if len(args) > 0 {
				host = args[0]
			}
			file, err := dockerConfig()
			if err != nil {
				return err
			}
			server := credentialsKey(host)
			known, err := file.GetAllCredentials()
			if err != nil {
				return err
			}
			if _, ok := known[server]; !ok {
				return fmt.Errorf("%w: there are no credentials for %s", drivers.ErrNotFound, host)
			}
			if err := file.GetCredentialsStore(server).Erase(server); err != nil {
				return err
			}
			return a.printf("the credentials for %s are forgotten\n", host)
		},
	}
}

// login is one that is kept.
type login struct {
	Registry string `json:"registry"`
	Username string `json:"username"`
}

func (a *app) registryListCmd() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "Show the registries that there are credentials for",
		Example: `  vzctl registry list`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			format, err := out.format()
			if err != nil {
				return err
			}
			file, err := dockerConfig()
			if err != nil {
				return err
			}
			known, err := file.GetAllCredentials()
			if err != nil {
				return err
			}
			var logins []login
			for _, server := range slices.Sorted(maps.Keys(known)) {
				registry := server
				if server == authn.DefaultAuthKey {
					registry = "docker.io"
				}
				// With a token in its place there is no user name.
				logins = append(logins, login{registry, known[server].Username})
			}
			if format != nil {
				return printList(a, format, logins)
			}
			table := [][]printer.Cell{printer.Header("REGISTRY", "USERNAME")}
			for _, l := range logins {
				table = append(table, []printer.Cell{{Text: l.Registry}, {Text: l.Username}})
			}
			return a.table().Write(table...)
		},
	}
	a.addOutput(cmd, &out, "table")
	return cmd
}

// dockerConfig reads docker's configuration file.
func dockerConfig() (*configfile.ConfigFile, error) {
	file, err := config.Load(config.Dir())
	if err != nil {
		return nil, fmt.Errorf("read docker's configuration: %w", err)
	}
	return file, nil
}

// credentialsKey is what docker files the credentials for a registry under.
func credentialsKey(host string) string {
	if host == "docker.io" || host == name.DefaultRegistry {
		return authn.DefaultAuthKey
	}
	return host
}
