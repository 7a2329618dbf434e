//go:build linux

package agent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// processSpec is a process as the code that makes it wants it, complete and
// ready to cross to the stage.
type processSpec struct {
	Args         []string
	Env          []string
	Cwd          string
	User         string
	Groups       []uint32
	Terminal     bool
	Size         drivers.TerminalSize
	Capabilities []string
	NoNewPrivs   bool
}

func newProcessSpec(s drivers.ProcessSpec, hostname string) (processSpec, error) {
	p := processSpec{
		Args:         s.Args,
		Cwd:          s.WorkingDir,
		User:         s.User,
		Groups:       s.SupplementalGroups,
		Terminal:     s.Terminal,
		Size:         s.TerminalSize,
		Capabilities: s.Capabilities,
		NoNewPrivs:   s.NoNewPrivileges,
	}
	if len(p.Args) == 0 || p.Args[0] == "" {
		return p, fmt.Errorf("%w: no command to run", drivers.ErrInvalidArgument)
	}
	for _, s := range slices.Concat([]string{p.Cwd, p.User}, p.Args, p.Capabilities) {
		if strings.Contains(s, "\x00") {
			return p, fmt.Errorf("%w: %q has a NUL in it", drivers.ErrInvalidArgument, s)
		}
	}
	if p.Cwd == "" {
		p.Cwd = "/"
	}
	if !strings.HasPrefix(p.Cwd, "/") {
		return p, fmt.Errorf("%w: working directory %q is not absolute", drivers.ErrInvalidArgument, p.Cwd)
	}
	if p.Size == (drivers.TerminalSize{}) {
		p.Size = drivers.TerminalSize{Width: 80, Height: 24}
	}
	set := map[string]bool{}
	for _, e := range s.Env {
		if e.Name == "" || strings.ContainsAny(e.Name, "=\x00") || strings.Contains(e.Value, "\x00") {
			return p, fmt.Errorf("%w: environment variable %q: not a possible name or value", drivers.ErrInvalidArgument, e.Name)
		}
		set[e.Name] = true
		p.Env = append(p.Env, e.Name+"="+e.Value)
	}
	defaults := []drivers.EnvVar{
		{Name: "PATH", Value: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		{Name: "HOSTNAME", Value: hostname},
	}
	if p.Terminal {
		defaults = append(defaults, drivers.EnvVar{Name: "TERM", Value: "xterm"})
	}
	for _, d := range defaults {
		if !set[d.Name] {
			p.Env = append(p.Env, d.Name+"="+d.Value)
		}
	}
	return p, nil
}

// lookupEnv returns the value that a program finds under a name: the last one.
func lookupEnv(env []string, name string) (string, bool) {
	for _, e := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value, true
		}
	}
	return "", false
}
