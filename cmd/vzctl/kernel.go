package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/internal/printer"
)

func (a *app) kernelCmd() *cobra.Command {
	return group("kernel", "Install, list and remove kernels for the VMs (no daemon needed)", `  vzctl kernel install
  vzctl kernel list`,
		a.kernelInstallCmd(), a.kernelListCmd(), a.kernelRmCmd())
}

func (a *app) kernels() (*kernels.Store, error) {
	dir, err := a.state()
	if err != nil {
		return nil, err
	}
	return kernels.Open(dir.Kernels()), nil
}

func (a *app) kernelInstallCmd() *cobra.Command {
	var opts kernels.InstallOptions
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install a kernel for the VMs",
		Long: `Install a kernel for the VMs: by default the one that the host's distribution
packages for virtual machines, which is downloaded and unpacked, not installed
on the host. A manifest names another than "default" in spec.vm.kernel.name.`,
		Example: `  vzctl kernel install
  vzctl kernel install --deb linux-image-6.1.0-cloud-amd64.deb
  vzctl kernel install --name mine --image bzImage --modules /lib/modules/6.12.0
  vzctl kernel install --url https://example.com/vmlinux --sha256 e3b0c44298fc…`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.kernels()
			if err != nil {
				return err
			}
			opts.Progress = func(step string) { fmt.Fprintln(a.stderr, printer.Sanitize(step)) }
			k, err := store.Install(cmd.Context(), opts)
			if err != nil {
				return err
			}
			return a.printf("kernel %q is Linux %s for %s, from %s\n", k.Name, k.Version, k.Arch, k.Source)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.Name, "name", kernels.DefaultName, "name that manifests use")
	f.StringVar(&opts.Deb, "deb", "", "Debian or Ubuntu kernel package")
	f.StringVar(&opts.ModulesDeb, "modules-deb", "", "package with the modules, where they are apart")
	f.StringVar(&opts.Image, "image", "", "kernel file")
	f.StringVar(&opts.Modules, "modules", "", "directory of its modules, as /lib/modules/VERSION")
	f.StringVar(&opts.URL, "url", "", "where a kernel file or package is")
	f.StringVar(&opts.SHA256, "sha256", "", "checksum of what is at the URL, in hex")
	f.StringVar(&opts.Package, "package", "", "name of the package to download")
	return cmd
}

func (a *app) kernelListCmd() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "Show the kernels installed",
		Example: `  vzctl kernel list
  vzctl kernel list -o json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			format, err := out.format()
			if err != nil {
				return err
			}
			store, err := a.kernels()
			if err != nil {
				return err
			}
			list, err := store.List()
			if err != nil {
				return err
			}
			if format != nil {
				return a.printKernels(format, list)
			}
			if len(list) == 0 {
				fmt.Fprintln(a.stderr, "No kernel is installed. Install one with: vzctl kernel install")
				return nil
			}
			table := [][]printer.Cell{printer.Header("NAME", "VERSION", "ARCH", "INSTALLED", "SOURCE")}
			for _, k := range list {
				table = append(table, []printer.Cell{
					{Text: k.Name}, {Text: k.Version}, {Text: k.Arch}, {Text: age(time.Now(), k.InstalledAt) + " ago"}, {Text: k.Source},
				})
			}
			return a.table().Write(table...)
		},
	}
	a.addOutput(cmd, &out, "table")
	return cmd
}

func (a *app) printKernels(format *printer.Format, list []kernels.Kernel) error {
	type item struct {
		Name        string    `json:"name"`
		Version     string    `json:"version"`
		Arch        string    `json:"arch"`
		Image       string    `json:"image"`
		VMLinux     string    `json:"vmlinux,omitempty"`
		ModulesDir  string    `json:"modulesDir,omitempty"`
		Source      string    `json:"source"`
		InstalledAt time.Time `json:"installedAt"`
	}
	items := make([]item, len(list))
	for i, k := range list {
		items[i] = item(k)
	}
	return printList(a, format, items)
}

func (a *app) kernelRmCmd() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "rm NAME…",
		Aliases: []string{"remove", "delete"},
		Short:   "Remove kernels that no sandbox uses",
		Example: `  vzctl kernel rm mine`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := a.state()
			if err != nil {
				return err
			}
			store := kernels.Open(dir.Kernels())
			for _, name := range args {
				k, err := store.Get(name)
				if err != nil {
					return err
				}
				users, err := kernelUsers(dir, k)
				if err != nil {
					return err
				}
				if len(users) > 0 && !force {
					return fmt.Errorf("kernel %q is used by %s: delete these first, or give --force", name, users)
				}
				if err := store.Remove(cmd.Context(), name); err != nil {
					return err
				}
				if err := a.printf("kernel %q removed\n", name); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove it even if a sandbox uses it, which then cannot start again")
	return cmd
}
