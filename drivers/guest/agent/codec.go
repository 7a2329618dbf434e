//go:build linux

package agent

import (
	"errors"
	"strconv"
	"strings"
)

// What the agent and a stage tell each other is a list of fields, each ended by
// a NUL, which nothing in them can contain. (A general encoding would do, at
// the price of its start, which an emulated guest pays at every boot.)

type encoder struct{ strings.Builder }

func (e *encoder) string(s string) {
	e.WriteString(s)
	e.WriteByte(0)
}

func (e *encoder) int(n int) { e.string(strconv.Itoa(n)) }

func (e *encoder) bool(b bool) { e.string(strconv.FormatBool(b)) }

func (e *encoder) strings(list []string) {
	e.int(len(list))
	for _, s := range list {
		e.string(s)
	}
}

var errShort = errors.New("a message of the agent's or the stage's is cut short")

// decoder takes fields off in the order in which they were put. The first error
// sticks; what is read after it is empty.
type decoder struct {
	rest string
	err  error
}

func (d *decoder) string() string {
	s, rest, ok := strings.Cut(d.rest, "\x00")
	if !ok {
		d.err = errors.Join(d.err, errShort)
		return ""
	}
	d.rest = rest
	return s
}

func (d *decoder) int() int {
	n, err := strconv.Atoi(d.string())
	if err != nil && d.err == nil {
		d.err = err
	}
	return n
}

func (d *decoder) bool() bool { return d.string() == "true" }

// count reads how many elements follow: of a NUL each, at the least.
func (d *decoder) count() int {
	n := d.int()
	if n < 0 || n > len(d.rest) {
		d.err = errors.Join(d.err, errShort)
		return 0
	}
	return n
}

func (d *decoder) strings() []string {
	list := make([]string, d.count())
	for i := range list {
		list[i] = d.string()
	}
	return list
}

func (s stageSpec) encode() string {
	var e encoder
	e.string(s.Root)
	e.string(s.Cgroup)
	e.bool(s.ReadOnly)
	e.int(len(s.Mounts))
	for _, m := range s.Mounts {
		e.string(m.Source)
		e.string(m.SubPath)
		e.string(m.Target)
		e.bool(m.ReadOnly)
	}
	e.int(len(s.Files))
	for _, f := range s.Files {
		e.string(f.Source)
		e.string(f.Target)
	}
	e.int(len(s.Sysctls))
	for name, value := range s.Sysctls {
		e.string(name)
		e.string(value)
	}
	s.Process.encode(&e)
	return e.String()
}

func decodeStageSpec(data string) (stageSpec, error) {
	d := decoder{rest: data}
	s := stageSpec{Root: d.string(), Cgroup: d.string(), ReadOnly: d.bool()}
	s.Mounts = make([]bindMount, d.count())
	for i := range s.Mounts {
		s.Mounts[i] = bindMount{Source: d.string(), SubPath: d.string(), Target: d.string(), ReadOnly: d.bool()}
	}
	s.Files = make([]bindFile, d.count())
	for i := range s.Files {
		s.Files[i] = bindFile{Source: d.string(), Target: d.string()}
	}
	s.Sysctls = map[string]string{}
	for range d.count() {
		name := d.string()
		s.Sysctls[name] = d.string()
	}
	s.Process = decodeProcessSpec(&d)
	return s, d.err
}

func (p processSpec) encode(e *encoder) {
	e.strings(p.Args)
	e.strings(p.Env)
	e.string(p.Cwd)
	e.string(p.User)
	e.int(len(p.Groups))
	for _, g := range p.Groups {
		e.int(int(g))
	}
	e.bool(p.Terminal)
	e.int(int(p.Size.Width))
	e.int(int(p.Size.Height))
	e.strings(p.Capabilities)
	e.bool(p.NoNewPrivs)
}

func decodeProcessSpec(d *decoder) processSpec {
	p := processSpec{Args: d.strings(), Env: d.strings(), Cwd: d.string(), User: d.string()}
	p.Groups = make([]uint32, d.count())
	for i := range p.Groups {
		p.Groups[i] = uint32(d.int())
	}
	p.Terminal = d.bool()
	p.Size.Width, p.Size.Height = uint16(d.int()), uint16(d.int())
	p.Capabilities = d.strings()
	p.NoNewPrivs = d.bool()
	return p
}

func (e stageError) encode() string {
	var enc encoder
	enc.string(e.Kind)
	enc.string(strings.ReplaceAll(e.Text, "\x00", ""))
	return enc.String()
}

func decodeStageError(data string) (stageError, error) {
	d := decoder{rest: data}
	return stageError{Kind: d.string(), Text: d.string()}, d.err
}
