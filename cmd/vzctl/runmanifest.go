package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	yaml "sigs.k8s.io/yaml/goyaml.v3"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// runOptions are what `vzctl run` was told, as flags have it.
type runOptions struct {
	name, namespace string
	image           string
	args            []string
	entrypoint      string
	entrypointSet   bool
	env, envFiles   []string
	cpus, memory    string
	restart         string
	workingDir      string
	user            string
	labels          []string
	stdin, tty      bool
	networks        []string
	publish         []string
}

// The manifest that run writes, with its fields in the order in which people
// write them.
type (
	runManifest struct {
		APIVersion string      `yaml:"apiVersion"`
		Kind       string      `yaml:"kind"`
		Metadata   runMetadata `yaml:"metadata"`
		Spec       runSpec     `yaml:"spec"`
	}
	runMetadata struct {
		Name      string            `yaml:"name"`
		Namespace string            `yaml:"namespace,omitempty"`
		Labels    map[string]string `yaml:"labels,omitempty"`
	}
	runSpec struct {
		Networks    []runNetwork   `yaml:"networks,omitempty"`
		PodTemplate runPodTemplate `yaml:"podTemplate"`
		VM          *runVM         `yaml:"vm,omitempty"`
	}
	runPodTemplate struct {
		Spec runPodSpec `yaml:"spec"`
	}
	runPodSpec struct {
		RestartPolicy string         `yaml:"restartPolicy"`
		Containers    []runContainer `yaml:"containers"`
	}
	runContainer struct {
		Name            string              `yaml:"name"`
		Image           string              `yaml:"image"`
		Command         []string            `yaml:"command,omitempty"`
		Args            []string            `yaml:"args,omitempty"`
		WorkingDir      string              `yaml:"workingDir,omitempty"`
		Env             []runVariable       `yaml:"env,omitempty"`
		Ports           []runPort           `yaml:"ports,omitempty"`
		Stdin           bool                `yaml:"stdin,omitempty"`
		StdinOnce       bool                `yaml:"stdinOnce,omitempty"`
		TTY             bool                `yaml:"tty,omitempty"`
		SecurityContext *runSecurityContext `yaml:"securityContext,omitempty"`
	}
	runNetwork struct {
		Name string `yaml:"name"`
	}
	runPort struct {
		ContainerPort uint16 `yaml:"containerPort"`
		HostPort      uint16 `yaml:"hostPort"`
		HostIP        string `yaml:"hostIP,omitempty"`
		Protocol      string `yaml:"protocol,omitempty"`
	}
	runVariable struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	}
	runSecurityContext struct {
		RunAsUser  *int64 `yaml:"runAsUser,omitempty"`
		RunAsGroup *int64 `yaml:"runAsGroup,omitempty"`
	}
	runVM struct {
		CPUs   int    `yaml:"cpus,omitempty"`
		Memory string `yaml:"memory,omitempty"`
	}
)

// manifest returns the YAML of the sandbox that the options ask for. getenv is
// where -e NAME takes its value from, readFile reads a file of variables.
func (o *runOptions) manifest(getenv func(string) (string, bool), readFile func(string) ([]byte, error)) ([]byte, error) {
	c := runContainer{
		Name: "main", Image: o.image, Args: literals(o.args), WorkingDir: o.workingDir,
		Stdin: o.stdin, StdinOnce: o.stdin && !o.tty, TTY: o.tty,
	}
	if o.entrypointSet {
		if o.entrypoint == "" {
			return nil, usagef("--entrypoint: name the program to run")
		}
		c.Command = literals([]string{o.entrypoint})
	}
	var err error
	if c.Env, err = o.variables(getenv, readFile); err != nil {
		return nil, err
	}
	if c.SecurityContext, err = parseRunUser(o.user); err != nil {
		return nil, err
	}
	if c.Ports, err = parsePorts(o.publish); err != nil {
		return nil, err
	}
	m := runManifest{APIVersion: manifests.APIVersion, Kind: manifests.KindSandbox, Metadata: runMetadata{Name: o.name}}
	if o.namespace != manifests.DefaultNamespace {
		m.Metadata.Namespace = o.namespace
	}
	if m.Metadata.Labels, err = parseLabels(o.labels); err != nil {
		return nil, err
	}
	networks := o.networks
	if len(networks) == 0 && len(c.Ports) > 0 {
		networks = []string{manifests.DefaultNetwork}
	}
	for _, name := range networks {
		m.Spec.Networks = append(m.Spec.Networks, runNetwork{name})
	}
	m.Spec.PodTemplate.Spec = runPodSpec{Containers: []runContainer{c}}
	if m.Spec.PodTemplate.Spec.RestartPolicy, err = parseRestart(o.restart); err != nil {
		return nil, err
	}
	if m.Spec.VM, err = parseVM(o.cpus, o.memory); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.WriteString("# Written by vzctl run. The sandbox is what this file says: edit it, commit it,\n# or remove it to end the sandbox.\n")
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	enc.CompactSeqIndent()
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	return out.Bytes(), enc.Close()
}

// literals keeps a manifest from replacing $(NAME) and $$ in words that are meant
// as they are.
func literals(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = literal(w)
	}
	return out
}

func literal(word string) string {
	var b strings.Builder
	for i := range len(word) {
		b.WriteByte(word[i])
		if word[i] == '$' && i+1 < len(word) && (word[i+1] == '$' || word[i+1] == '(') {
			b.WriteByte('$')
		}
	}
	return b.String()
}

// variables returns the variables of the files, then those given singly: of two
// of one name the last counts.
func (o *runOptions) variables(getenv func(string) (string, bool), readFile func(string) ([]byte, error)) ([]runVariable, error) {
	var list []runVariable
	add := func(from, text string) error {
		name, value, ok := strings.Cut(text, "=")
		if name == "" {
			return usagef("%s: %q has no name of a variable", from, text)
		}
		if !ok {
			if value, ok = getenv(name); !ok {
				return nil // as docker has it: what is not set is not passed on
			}
		}
		list = slices.DeleteFunc(list, func(v runVariable) bool { return v.Name == name })
		list = append(list, runVariable{name, literal(value)})
		return nil
	}
	for _, path := range o.envFiles {
		data, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
		n := 0
		for line := range strings.Lines(string(data)) {
			n++
			line = strings.TrimLeft(strings.TrimRight(line, "\r\n"), " \t")
			if line == "" || line[0] == '#' {
				continue
			}
			if err := add(fmt.Sprintf("%s:%d", path, n), line); err != nil {
				return nil, err
			}
		}
	}
	for _, text := range o.env {
		if err := add("--env", text); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// parsePorts reads docker's [IP:]HOSTPORT:PORT[/PROTOCOL].
func parsePorts(texts []string) ([]runPort, error) {
	var ports []runPort
	for _, text := range texts {
		spec, protocol, _ := strings.Cut(text, "/")
		i := strings.LastIndexByte(spec, ':')
		if i < 0 {
			return nil, usagef("--publish=%s: want [IP:]HOSTPORT:PORT[/udp]", text)
		}
		host, port := spec[:i], spec[i+1:]
		var p runPort
		if j := strings.LastIndexByte(host, ':'); j >= 0 {
			p.HostIP, host = strings.Trim(host[:j], "[]"), host[j+1:]
		}
		inside, err := strconv.ParseUint(port, 10, 16)
		outside, herr := strconv.ParseUint(host, 10, 16)
		if err != nil || herr != nil {
			return nil, usagef("--publish=%s: want [IP:]HOSTPORT:PORT[/udp], with one port on each side", text)
		}
		p.ContainerPort, p.HostPort, p.Protocol = uint16(inside), uint16(outside), strings.ToUpper(protocol)
		ports = append(ports, p)
	}
	return ports, nil
}

// parseRunUser reads UID[:GID].
func parseRunUser(text string) (*runSecurityContext, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // the image's user
	}
	uid, gid, hasGroup := strings.Cut(text, ":")
	number := func(text string) (*int64, error) {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 {
			return nil, usagef("--user: %q is not a number: a manifest takes UID or UID:GID, not names", text)
		}
		return &n, nil
	}
	var (
		s   runSecurityContext
		err error
	)
	if s.RunAsUser, err = number(uid); err != nil {
		return nil, err
	}
	if hasGroup {
		if s.RunAsGroup, err = number(gid); err != nil {
			return nil, err
		}
	}
	return &s, nil
}

func parseLabels(texts []string) (map[string]string, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	labels := map[string]string{}
	for _, text := range texts {
		name, value, _ := strings.Cut(text, "=")
		if name == "" {
			return nil, usagef("--label: %q has no name", text)
		}
		labels[name] = value
	}
	return labels, nil
}

// parseRestart reads docker's words and those of a manifest.
func parseRestart(text string) (string, error) {
	switch text {
	case "no", "Never":
		return "Never", nil
	case "on-failure", "OnFailure":
		return "OnFailure", nil
	case "always", "unless-stopped", "Always":
		return "Always", nil
	}
	if strings.HasPrefix(text, "on-failure:") {
		return "", usagef("--restart=%s: a bound on the number of restarts is not supported: use on-failure", text)
	}
	return "", usagef("--restart=%s: want no, on-failure or always", text)
}

// parseVM reads the VM's size. A VM has whole CPUs; memory is in docker's units
// (512m, 2g) or a manifest's (512Mi, 2Gi).
func parseVM(cpus, memory string) (*runVM, error) {
	var vm runVM
	if cpus != "" {
		f, err := strconv.ParseFloat(cpus, 64)
		if err != nil || f < 1 || f != math.Trunc(f) || f > 1024 {
			return nil, usagef("--cpus=%s: a VM has a whole number of CPUs, 1 or more", cpus)
		}
		vm.CPUs = int(f)
	}
	if memory != "" {
		n := memory
		if m := dockerMemory.FindStringSubmatch(memory); m != nil {
			// Docker's units are powers of 1024, whatever their case.
			n = m[1] + map[string]string{"": "", "b": "", "k": "Ki", "m": "Mi", "g": "Gi"}[strings.ToLower(m[2])]
		}
		if q, err := resource.ParseQuantity(n); err != nil || q.Sign() <= 0 {
			return nil, usagef("--memory=%s: want an amount as 512m, 2g or 512Mi", memory)
		}
		vm.Memory = n
	}
	if vm == (runVM{}) {
		return nil, nil //nolint:nilnil // a VM of the size that there is by default
	}
	return &vm, nil
}

var dockerMemory = regexp.MustCompile(`^([0-9]+)([bBkKmMgG]?)[bB]?$`)

// notInNames is what a sandbox's name cannot have.
var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// generateName returns a name for a sandbox of an image: "nginx-x7k2p".
func generateName(image string) string {
	const longest = 40
	ref, err := manifests.ParseImage(image)
	base := ref.Name
	if err == nil && ref.Transport != manifests.ImageRegistry {
		base = strings.TrimSuffix(path.Base(ref.Path), path.Ext(ref.Path))
	}
	base, _, _ = strings.Cut(base, "@")
	base = path.Base(base)
	base, _, _ = strings.Cut(base, ":")
	base = strings.Trim(notInNames.ReplaceAllString(strings.ToLower(base), "-"), "-")
	if len(base) > longest {
		base = strings.Trim(base[:longest], "-")
	}
	if base == "" {
		base = "sandbox"
	}
	return base + "-" + strings.ToLower(rand.Text()[:5])
}
