package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	yaml "sigs.k8s.io/yaml/goyaml.v3"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) networkCmd() *cobra.Command {
	return group("network", "List, inspect, create and delete networks", `  vzctl network list
  vzctl network inspect default
  vzctl network create backend --mode Isolated`,
		a.networkListCmd(), a.networkInspectCmd(), a.networkCreateCmd(), a.networkDeleteCmd())
}

func (a *app) networkListCmd() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "Show the networks on this host",
		Long: `Show the networks on this host. "default" is there without a manifest. Its process
runs while a sandbox is on it.`,
		Example: `  vzctl network list
  vzctl network list -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, err := out.format()
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			resp, err := client.ListNetworks(cmd.Context(), &api.ListNetworksRequest{})
			if err != nil {
				return err
			}
			if format != nil {
				return printList(a, format, resp.GetNetworks())
			}
			return a.table().Write(networkRows(resp.GetNetworks())...)
		},
	}
	a.addOutput(cmd, &out, "table")
	return cmd
}

func networkRows(networks []*api.Network) [][]printer.Cell {
	table := [][]printer.Cell{printer.Header("NAME", "MODE", "SUBNET", "MTU", "SANDBOXES", "PORTS", "STATE")}
	for _, n := range networks {
		connected := 0
		for _, e := range n.GetEndpoints() {
			if e.GetConnected() {
				connected++
			}
		}
		state := printer.Cell{Text: "Idle"}
		switch {
		case n.GetProblem() != "":
			state = printer.Cell{Text: n.GetProblem(), Color: printer.Yellow}
		case n.GetPid() != 0:
			state.Text = "Running"
		}
		row := make([]printer.Cell, 0, 7)
		for _, text := range []string{
			n.GetName(), n.GetMode(), orNone(n.GetSubnet()), strconv.Itoa(int(n.GetMtu())), strconv.Itoa(connected), strconv.Itoa(len(n.GetPorts())),
		} {
			row = append(row, printer.Cell{Text: text})
		}
		table = append(table, append(row, state))
	}
	return table
}

func (a *app) networkInspectCmd() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "inspect NAME",
		Short: "Show a network, and what is on it",
		Long: `Show a network's sandboxes with their addresses and counters, and the ports of the
host that are published. DROPPED are frames that were not carried, SPOOFED those that
bore another's address, DENIED connections to where the network does not lead.`,
		Example: `  vzctl network inspect default
  vzctl network inspect default -o jsonpath='{.endpoints[*].address}'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := out.format()
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			resp, err := client.ListNetworks(cmd.Context(), &api.ListNetworksRequest{Name: args[0]})
			if err != nil {
				return err
			}
			n := resp.GetNetworks()[0]
			if format != nil {
				return a.printThing(format, n)
			}
			if err := a.table().Write(networkRows(resp.GetNetworks())...); err != nil {
				return err
			}
			return a.networkDetails(n)
		},
	}
	a.addOutput(cmd, &out, "table")
	return cmd
}

func (a *app) networkDetails(n *api.Network) error {
	if len(n.GetEndpoints()) > 0 {
		table := [][]printer.Cell{printer.Header("SANDBOX", "ADDRESS", "MAC", "CONNECTED", "RECEIVED", "SENT", "DROPPED", "SPOOFED", "DENIED")}
		for _, e := range n.GetEndpoints() {
			table = append(table, cells(
				e.GetNamespace()+"/"+e.GetName(), e.GetAddress(), e.GetMac(), strconv.FormatBool(e.GetConnected()),
				bytesText(e.GetReceivedBytes()), bytesText(e.GetSentBytes()),
				strconv.FormatUint(e.GetDroppedFrames(), 10), strconv.FormatUint(e.GetSpoofedFrames(), 10), strconv.FormatUint(e.GetDeniedConnections(), 10),
			))
		}
		if err := a.section(table); err != nil {
			return err
		}
	}
	if len(n.GetPorts()) == 0 {
		return nil
	}
	table := [][]printer.Cell{printer.Header("HOST", "PROTOCOL", "SANDBOX", "PORT", "PROBLEM")}
	for _, p := range n.GetPorts() {
		table = append(table, cells(p.GetHost(), p.GetProtocol(), p.GetNamespace()+"/"+p.GetName(), strconv.Itoa(int(p.GetPort())), p.GetError()))
	}
	return a.section(table)
}

// section writes a table after another.
func (a *app) section(table [][]printer.Cell) error {
	if err := a.printf("\n"); err != nil {
		return err
	}
	return a.table().Write(table...)
}

func cells(texts ...string) []printer.Cell {
	row := make([]printer.Cell, len(texts))
	for i, text := range texts {
		row[i].Text = text
	}
	return row
}

// The manifest that create writes.
type (
	networkManifest struct {
		APIVersion string          `yaml:"apiVersion"`
		Kind       string          `yaml:"kind"`
		Metadata   networkMetadata `yaml:"metadata"`
		Spec       networkSpec     `yaml:"spec"`
	}
	networkMetadata struct {
		Name string `yaml:"name"`
	}
	networkSpec struct {
		Mode   string `yaml:"mode"`
		Subnet string `yaml:"subnet,omitempty"`
		MTU    int    `yaml:"mtu,omitempty"`
	}
)

func (a *app) networkCreateCmd() *cobra.Command {
	var spec networkSpec
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Write the manifest of a network into the daemon's folder",
		Example: `  vzctl network create backend --mode Isolated
  vzctl network create lab --subnet 10.9.0.0/24 --dry-run > manifests/lab.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out bytes.Buffer
			out.WriteString("# Written by vzctl network create. The network is what this file says.\n")
			enc := yaml.NewEncoder(&out)
			enc.SetIndent(2)
			if err := enc.Encode(networkManifest{manifests.APIVersion, manifests.KindNetwork, networkMetadata{args[0]}, spec}); err != nil {
				return fmt.Errorf("write the manifest: %w", err)
			}
			if _, errs := manifests.Parse("the manifest", out.Bytes()); len(errs) > 0 {
				return usagef("%s", strings.TrimPrefix(errs[0].Error(), "the manifest:"))
			}
			if dryRun {
				return a.printManifest(out.Bytes(), "yaml")
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			ref := &api.Ref{Kind: manifests.KindNetwork, Namespace: manifests.DefaultNamespace, Name: args[0]}
			if err := a.create(cmd.Context(), client, ref, out.Bytes()); err != nil {
				return err
			}
			return a.printf("%s created\n", refName(ref))
		},
	}
	cmd.Flags().StringVar(&spec.Mode, "mode", string(manifests.NetworkModeNAT), "NAT, or Isolated: no way out")
	cmd.Flags().StringVar(&spec.Subnet, "subnet", "", "IPv4 subnet (default a free one of 10.213.0.0/16)")
	cmd.Flags().IntVar(&spec.MTU, "mtu", 0, "most bytes of a packet (default 1500)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only print the manifest")
	a.completeFlag(cmd, "mode", string(manifests.NetworkModeNAT), string(manifests.NetworkModeIsolated))
	return cmd
}

func (a *app) networkDeleteCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "delete NAME…",
		Aliases: []string{"rm"},
		Short:   "Remove networks from the daemon's folder",
		Long: `Remove the manifests of networks from the daemon's folder. Sandboxes that are on one
stay on it while they run; none is started on it any more.`,
		Example: `  vzctl network delete backend`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			var refs []*api.Ref
			for _, name := range args {
				refs = append(refs, &api.Ref{Kind: manifests.KindNetwork, Namespace: manifests.DefaultNamespace, Name: name})
			}
			return a.delete(cmd.Context(), client, refs, false, waitFlags{})
		},
	}
}
