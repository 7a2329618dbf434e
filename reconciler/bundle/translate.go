package bundle

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/internal/volumes"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// ErrMissing means that a ConfigMap or Secret, or a key of one, that the sandbox
// needs is not there (yet).
var ErrMissing = errors.New("missing")

// Input is all that a Configuration is made of.
type Input struct {
	// Sandbox is valid and has its defaults, as manifests.Parse returns it.
	Sandbox *manifests.Sandbox
	// ConfigMaps and Secrets of the sandbox's namespace, by name. There may be
	// more than it refers to.
	ConfigMaps map[string]*corev1.ConfigMap
	Secrets    map[string]*corev1.Secret
	// Volumes of the sandbox's claims, by the claim's name.
	Volumes map[string]volumes.Volume
	// HostPaths are the directories of this host that sandboxes may have as volumes.
	HostPaths []string
	// Interfaces of the machine.
	Interfaces []drivers.NetworkInterface
	// Images by the name of the container that runs them, VolumeImages by that of the
	// volume.
	Images, VolumeImages map[string]*Image
	Kernel               kernels.Kernel
	// Agent, CacheDir and SocketDir are as in drivers.Configuration.
	Agent, CacheDir, SocketDir string
}

// Configuration turns a sandbox into what a runtime makes it from, by the rules
// that Kubernetes has for a Pod. The second result holds the values of secrets,
// by the names under which the Configuration refers to them; they appear nowhere
// else.
//
// The error, if any, names every object and field that stands in the way; it
// wraps ErrMissing if a ConfigMap, a Secret or a key is not there.
func Configuration(in Input) (drivers.Configuration, map[string][]byte, error) {
	t := newTranslation(in)
	cfg := t.sandbox()
	if len(t.errs) > 0 {
		return drivers.Configuration{}, nil, errors.Join(t.errs...)
	}
	return cfg, t.secrets, nil
}

// translation gathers errors and secrets.
type translation struct {
	Input
	secrets map[string][]byte
	used    map[use]string
	errs    []error
}

// use is a key of an object that the sandbox takes a value from.
type use struct {
	kind      source
	name, key string
}

func newTranslation(in Input) *translation {
	return &translation{Input: in, secrets: map[string][]byte{}, used: map[use]string{}}
}

func (t *translation) errorf(field, format string, args ...any) {
	t.errs = append(t.errs, fmt.Errorf("%s: %w", field, fmt.Errorf(format, args...)))
}

func (t *translation) sandbox() drivers.Configuration {
	s := t.Sandbox
	pod := &s.Spec.PodTemplate.Spec
	cfg := drivers.Configuration{
		Version:              drivers.ConfigurationVersion,
		ID:                   s.Namespace + "/" + s.Name,
		Hostname:             pod.Hostname,
		CPUs:                 int(s.Spec.VM.CPUs),
		Kernel:               t.kernel(),
		Agent:                t.Agent,
		CacheDir:             t.CacheDir,
		SocketDir:            t.SocketDir,
		Volumes:              t.volumes(pod.Volumes),
		FSGroup:              fsGroup(pod.SecurityContext),
		DNS:                  dns(pod.DNSConfig),
		Interfaces:           t.Interfaces,
		NestedVirtualization: s.Spec.VM.NestedVirtualization,
		RuntimeData:          s.Spec.VM.RuntimeData,
	}
	if q := s.Spec.VM.Memory; q != nil {
		cfg.MemoryBytes = q.Value()
	}
	if q := s.Spec.VM.Disk; q != nil {
		cfg.DiskBytes = q.Value()
	}
	cfg.HostAliases = hostAliases(pod)
	if sc := pod.SecurityContext; sc != nil && len(sc.Sysctls) > 0 {
		cfg.Sysctls = make(map[string]string, len(sc.Sysctls))
		for _, ctl := range sc.Sysctls {
			cfg.Sysctls[ctl.Name] = ctl.Value
		}
	}
	for i := range pod.InitContainers {
		cfg.Containers = append(cfg.Containers, t.container(pod, &pod.InitContainers[i]))
	}
	for i := range pod.Containers {
		cfg.Containers = append(cfg.Containers, t.container(pod, &pod.Containers[i]))
	}
	return cfg
}

func (t *translation) kernel() drivers.Kernel {
	return drivers.Kernel{
		Image:      t.Kernel.Image,
		VMLinux:    t.Kernel.VMLinux,
		ModulesDir: t.Kernel.ModulesDir,
		Args:       t.Sandbox.Spec.VM.Kernel.Args,
	}
}

func hostAliases(pod *corev1.PodSpec) []drivers.HostAlias {
	var aliases []drivers.HostAlias
	for _, a := range pod.HostAliases {
		aliases = append(aliases, drivers.HostAlias{IP: a.IP, Hostnames: a.Hostnames})
	}
	return aliases
}

func dns(c *corev1.PodDNSConfig) drivers.DNS {
	if c == nil {
		return drivers.DNS{}
	}
	d := drivers.DNS{Nameservers: c.Nameservers, Searches: c.Searches}
	for _, o := range c.Options {
		option := o.Name
		if o.Value != nil && *o.Value != "" {
			option += ":" + *o.Value
		}
		d.Options = append(d.Options, option)
	}
	return d
}

func (t *translation) container(pod *corev1.PodSpec, c *corev1.Container) drivers.Container {
	field := "containers[" + c.Name + "]"
	img := t.Images[c.Name]
	if img == nil {
		t.errorf(field+".image", "image %s is not on this host yet", c.Image)
		return drivers.Container{}
	}
	out := drivers.Container{
		Name:        c.Name,
		Rootfs:      img.Rootfs,
		Process:     t.process(field, pod, c, img),
		Mounts:      t.mounts(field, pod, c),
		CPUMillis:   c.Resources.Limits.Cpu().MilliValue(),
		MemoryBytes: c.Resources.Limits.Memory().Value(),
	}
	if sc := c.SecurityContext; sc != nil && sc.ReadOnlyRootFilesystem != nil {
		out.ReadOnlyRootfs = *sc.ReadOnlyRootFilesystem
	}
	var err error
	if out.StopSignal, err = SignalNumber(img.Config.StopSignal); err != nil {
		t.errorf(field+".image", "the image's stop signal: %w", err)
	}
	return out
}

func (t *translation) process(field string, pod *corev1.PodSpec, c *corev1.Container, img *Image) drivers.ProcessSpec {
	env := t.environment(field, pod.Hostname, c, img.Config.Env)
	p := drivers.ProcessSpec{
		Args:         t.args(field, c, img, env),
		Env:          env.list(),
		WorkingDir:   c.WorkingDir,
		User:         t.user(field, pod.SecurityContext, c.SecurityContext, img.Config.User),
		Capabilities: capabilities(c.SecurityContext),
		Terminal:     c.TTY,
		Stdin:        c.Stdin,
		StdinOnce:    c.StdinOnce,
	}
	if p.WorkingDir == "" {
		p.WorkingDir = img.Config.WorkingDir
	}
	if p.WorkingDir != "" && !strings.HasPrefix(p.WorkingDir, "/") {
		// Docker takes a relative one from the root.
		p.WorkingDir = "/" + p.WorkingDir
	}
	if sc := pod.SecurityContext; sc != nil {
		for _, g := range sc.SupplementalGroups {
			p.SupplementalGroups = append(p.SupplementalGroups, uint32(g)) //nolint:gosec // validated
		}
		if g := fsGroup(sc); g != nil && !slices.Contains(p.SupplementalGroups, g.ID) {
			p.SupplementalGroups = append(p.SupplementalGroups, g.ID)
		}
	}
	if sc := c.SecurityContext; sc != nil && sc.AllowPrivilegeEscalation != nil {
		p.NoNewPrivileges = !*sc.AllowPrivilegeEscalation
	}
	return p
}

// args returns the command line: command replaces the image's entrypoint and
// command, args only its command.
func (t *translation) args(field string, c *corev1.Container, img *Image, env *environment) []string {
	expand := func(list []string, name string) []string {
		out := make([]string, 0, len(list))
		for i, s := range list {
			v := env.expand(s)
			if v.secret {
				t.errorf(field+"."+name+"["+strconv.Itoa(i)+"]",
					"takes the value of a Secret, which command lines would give away, and is not supported yet: read the variable in the container instead")
			}
			out = append(out, v.text)
		}
		return out
	}
	command, args := expand(c.Command, "command"), expand(c.Args, "args")
	if len(command) == 0 {
		command = img.Config.Entrypoint
		if len(args) == 0 {
			args = img.Config.Cmd
		}
	}
	all := slices.Concat(command, args)
	if len(all) == 0 || all[0] == "" {
		t.errorf(field+".command", "required: image %s does not say what to run", c.Image)
	}
	return all
}

// user returns whom the container runs as: what the manifest says, else the image.
func (t *translation) user(field string, pod *corev1.PodSecurityContext, own *corev1.SecurityContext, image string) string {
	var uid, gid *int64
	var nonRoot *bool
	if pod != nil {
		uid, gid, nonRoot = pod.RunAsUser, pod.RunAsGroup, pod.RunAsNonRoot
	}
	if own != nil {
		if own.RunAsUser != nil {
			uid = own.RunAsUser
		}
		if own.RunAsGroup != nil {
			gid = own.RunAsGroup
		}
		if own.RunAsNonRoot != nil {
			nonRoot = own.RunAsNonRoot
		}
	}
	user := image
	if uid != nil {
		user = strconv.FormatInt(*uid, 10)
	}
	name, _, _ := strings.Cut(user, ":")
	if gid != nil {
		if name == "" {
			name = "0"
		}
		user = name + ":" + strconv.FormatInt(*gid, 10)
	}
	if nonRoot != nil && *nonRoot {
		switch n, err := strconv.ParseUint(name, 10, 32); {
		case name == "", err == nil && n == 0:
			t.errorf(field+".securityContext.runAsNonRoot", "is true, but the container would run as root: set runAsUser")
		case err != nil:
			t.errorf(field+".securityContext.runAsNonRoot", "is true, but the image's user %q is no number, so that it cannot be told from root: set runAsUser", name)
		}
	}
	return user
}
