package vz

import (
	"io"
	"os"
)

// joints are where a machine meets this process: they last as long as it does.
type joints struct {
	console  *console
	networks []*network
}

// join makes the joints of a machine.
func join(d Description, w io.Writer) (*joints, error) {
	c, err := newConsole(w)
	if err != nil {
		return nil, err
	}
	j := &joints{console: c}
	for _, network := range d.Networks {
		n, err := newNetwork(network.Socket)
		if err != nil {
			j.close()
			return nil, err
		}
		j.networks = append(j.networks, n)
	}
	return j, nil
}

// files are the framework's ends.
func (j *joints) files() files {
	f := files{input: j.console.input, output: j.console.output, networks: make([]*os.File, 0, len(j.networks))}
	for _, n := range j.networks {
		f.networks = append(f.networks, n.device)
	}
	return f
}

// close ends them. All that the guest has printed is in its console's log then.
func (j *joints) close() {
	for _, n := range j.networks {
		n.close()
	}
	j.console.close()
}
