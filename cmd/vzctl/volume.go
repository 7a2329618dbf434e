package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) volumeCmd() *cobra.Command {
	return group("volume", "List and remove the volumes of claims", `  vzctl volume list
  vzctl volume rm pgdata`,
		a.volumeListCmd(), a.volumeRmCmd())
}

func (a *app) volumeListCmd() *cobra.Command {
	var (
		out output
		sel selection
	)
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "Show the volumes on this host",
		Long: `Show the volumes of PersistentVolumeClaims, those made from a sandbox's templates,
and those whose claim is gone: they stay, unless the claim's annotation
vzreconciler.dev/reclaim-policy was Delete. ALLOCATED is what a volume takes of the
host's disk.`,
		Example: `  vzctl volume list
  vzctl volume list --all-namespaces -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, err := out.format()
			if err != nil {
				return err
			}
			namespace := sel.namespace
			if sel.allNamespaces {
				namespace = ""
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			resp, err := client.ListVolumes(cmd.Context(), &api.ListVolumesRequest{Namespace: namespace})
			if err != nil {
				return err
			}
			if format != nil {
				return printList(a, format, resp.GetVolumes())
			}
			return a.table().Write(volumeRows(time.Now(), resp.GetVolumes(), namespace == "")...)
		},
	}
	sel.addNamespace(cmd)
	cmd.Flags().BoolVarP(&sel.allNamespaces, "all-namespaces", "A", false, "volumes of every namespace")
	a.addOutput(cmd, &out, "table")
	return cmd
}

func volumeRows(now time.Time, volumes []*api.Volume, namespaces bool) [][]printer.Cell {
	header := []string{"NAME", "STATUS", "SIZE", "ALLOCATED", "RECLAIM POLICY", "USED BY", "AGE"}
	if namespaces {
		header = append([]string{"NAMESPACE"}, header...)
	}
	table := [][]printer.Cell{printer.Header(header...)}
	for _, v := range volumes {
		status := "Bound"
		if !v.GetClaimed() {
			status = "Released"
		}
		var row []printer.Cell
		if namespaces {
			row = append(row, printer.Cell{Text: v.GetNamespace()})
		}
		for _, text := range []string{
			v.GetName(), status, limitText(uint64(max(v.GetRequestedBytes(), 0))), bytesText(uint64(max(v.GetAllocatedBytes(), 0))),
			v.GetReclaimPolicy(), orNone(strings.Join(v.GetUsedBy(), ",")), age(now, v.GetCreatedAt().AsTime()),
		} {
			row = append(row, printer.Cell{Text: text})
		}
		table = append(table, row)
	}
	return table
}

func (a *app) volumeRmCmd() *cobra.Command {
	var sel selection
	cmd := &cobra.Command{
		Use:     "rm NAME…",
		Aliases: []string{"remove", "delete"},
		Short:   "Remove volumes whose claim is gone, with all that is on them",
		Example: `  vzctl volume rm pgdata`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			for _, name := range args {
				resp, err := client.RemoveVolume(cmd.Context(), &api.RemoveVolumeRequest{Namespace: sel.namespace, Name: name})
				if err != nil {
					return err
				}
				if err := a.printf("%s removed, %s freed\n", name, bytesText(uint64(max(resp.GetFreedBytes(), 0)))); err != nil {
					return err
				}
			}
			return nil
		},
	}
	sel.addNamespace(cmd)
	return cmd
}
