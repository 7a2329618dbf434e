package plugins

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// ManifestFile is the file, in a plugin's directory, that describes it.
const ManifestFile = "plugin.yaml"

// maxManifestBytes bounds a plugin.yaml.
const maxManifestBytes = 64 << 10

// Kind is what a plugin is good for.
type Kind string

// The kinds of plugin.
const (
	KindRuntime Kind = "runtime"
	KindNetwork Kind = "network"
	KindCLI     Kind = "cli"
)

// Need is something that a runtime wants made ready for each sandbox.
type Need string

// The needs that there are.
const (
	// NeedImage is the containers' images, unpacked: Container.Rootfs.
	NeedImage Need = "image"
	// NeedKernel is a kernel and the guest agent: Configuration.Kernel and Agent.
	NeedKernel Need = "kernel"
)

// Wants reports whether the plugin needs something.
func (m Manifest) Wants(n Need) bool { return m.Needs == nil || slices.Contains(m.Needs, n) }

// Manifest is the content of a plugin.yaml.
type Manifest struct {
	Kind Kind `json:"kind"`
	// Name is what sandboxes' manifests say.
	Name    string `json:"name"`
	Version string `json:"version"`
	// ProtocolVersions are those of its kind's protocol that the plugin speaks.
	ProtocolVersions []int `json:"protocolVersions,omitempty"`
	// Command is the program, relative to the plugin's directory or absolute.
	Command string   `json:"command"`
	Args    []string `json:"args,omitempty"`
	// Abstract says in a line what the plugin is.
	Abstract string `json:"abstract,omitempty"`
	// Env names variables of the launcher's environment that the plugin gets in
	// addition to the few that all plugins get.
	Env []string `json:"env,omitempty"`
	// Needs is what has to be there before a sandbox of a runtime is bootstrapped.
	// Not given, it is all there is; a runtime that is no VM gives an empty list.
	Needs  []Need `json:"needs"`
	Author string `json:"author,omitempty"`
	// SHA256 is the program's checksum in hex. Where it is given, no other
	// program is ever started.
	SHA256 string `json:"sha256,omitempty"`
}

// Plugin is an installed plugin.
type Plugin struct {
	Manifest

	// Dir is the directory that holds its ManifestFile.
	Dir string
	// root is the directory of plugins that Dir was found in.
	root string
}

// Executable returns the path of the plugin's program.
func (p *Plugin) Executable() string {
	if filepath.IsAbs(p.Command) {
		return p.Command
	}
	return filepath.Join(p.Dir, p.Command)
}

func (p *Plugin) String() string { return fmt.Sprintf("%s plugin %s", p.Kind, p.Name) }

// readManifest reads and checks the plugin.yaml at path.
func readManifest(path string) (Manifest, error) {
	f, err := os.Open(path) //nolint:gosec // a plugin's directory is given by the user
	if err != nil {
		return Manifest{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxManifestBytes+1))
	if err != nil {
		return Manifest{}, err
	}
	m, err := parseManifest(data)
	if err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func parseManifest(data []byte) (Manifest, error) {
	if len(data) > maxManifestBytes {
		return Manifest{}, fmt.Errorf("larger than %d bytes", maxManifestBytes)
	}
	var m Manifest
	if err := yaml.UnmarshalStrict(data, &m); err != nil {
		return Manifest{}, err
	}
	if err := m.validate(); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// validate returns everything that is wrong at once.
func (m Manifest) validate() error {
	name := regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	var errs []error
	if kinds := []Kind{KindRuntime, KindNetwork, KindCLI}; !slices.Contains(kinds, m.Kind) {
		errs = append(errs, fmt.Errorf("kind: %q is not one of %q", m.Kind, kinds))
	}
	if !name.MatchString(m.Name) {
		errs = append(errs, fmt.Errorf("name: %q is not lower-case letters, digits and '-', at most 63", m.Name))
	}
	if m.Version == "" {
		errs = append(errs, errors.New("version: missing"))
	}
	switch m.Kind {
	case KindRuntime:
		errs = append(errs, m.validateProtocol(spokenVersions()))
	case KindNetwork:
		errs = append(errs, m.validateProtocol([]int{NetworkProtocolVersion}))
	case KindCLI:
	}
	for _, n := range m.Needs {
		if needs := []Need{NeedImage, NeedKernel}; !slices.Contains(needs, n) {
			errs = append(errs, fmt.Errorf("needs: %q is not one of %q", n, needs))
		}
	}
	for _, v := range m.Env {
		if v == "" || strings.ContainsAny(v, "=\x00") {
			errs = append(errs, fmt.Errorf("env: %q is not the name of a variable", v))
		}
	}
	switch {
	case m.Command == "":
		errs = append(errs, errors.New("command: missing"))
	case !filepath.IsAbs(m.Command) && !filepath.IsLocal(m.Command):
		errs = append(errs, fmt.Errorf("command: %q leads out of the plugin's directory", m.Command))
	}
	if sum, err := hex.DecodeString(m.SHA256); err != nil || (len(sum) != 32 && len(sum) != 0) {
		errs = append(errs, fmt.Errorf("sha256: %q is not 64 hexadecimal digits", m.SHA256))
	}
	return errors.Join(errs...)
}

func (m Manifest) validateProtocol(spoken []int) error {
	if len(m.ProtocolVersions) == 0 {
		return errors.New("protocolVersions: missing")
	}
	if !slices.ContainsFunc(m.ProtocolVersions, func(v int) bool { return slices.Contains(spoken, v) }) {
		return fmt.Errorf("protocolVersions: the plugin speaks %v, this program %v: install a matching version of either",
			m.ProtocolVersions, spoken)
	}
	return nil
}
