package reconciler

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vzreconciler/vzreconciler/reconciler/metrics"
)

// disksInterval is how often the disks of VMs that run are looked at, at most: it
// is done with a look at the manifests.
const disksInterval = 30 * time.Second

// heldDisk is a file that a VM has as a disk. Without it the VM runs on, on what
// has no name any more, and loses that when it ends.
type heldDisk struct {
	path  string
	claim string    // whose volume it is; empty for a disk of the sandbox's own
	file  fileState // as it was when the VM had just begun
	lost  string    // what became of it
}

// fileState tells a file from another, and how large it is.
type fileState struct {
	dev, ino uint64
	size     int64
}

func stateOf(path string) (fileState, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileState{size: info.Size()}, nil
	}
	return fileState{uint64(st.Dev), st.Ino, info.Size()}, nil //nolint:unconvert,gosec // the type of Dev differs by platform
}

// change says what became of the file; empty if it is as it was, but for what the
// VM has written.
func (d *heldDisk) change() string {
	now, err := stateOf(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "was removed"
	case err != nil: // Nothing is known.
		return ""
	case now.dev != d.file.dev || now.ino != d.file.ino:
		return "was replaced by another file"
	case now.size < d.file.size:
		return "was cut short"
	}
	return ""
}

// holdDisks notes the disks of the VM that runs, and keeps on record that its
// volumes have one. What is not there yet is not watched. o.mu is held.
func (m *Manager) holdDisks(o *object) {
	o.disks = nil
	hold := func(d heldDisk) {
		if file, err := stateOf(d.path); err == nil {
			d.file = file
			o.disks = append(o.disks, d)
		}
	}
	hold(heldDisk{path: o.bundle.Disk()})
	own, _ := filepath.Glob(filepath.Join(o.bundle.VolumesDir(), "*.img")) // the pattern is well-formed
	for _, path := range own {
		hold(heldDisk{path: path})
	}
	if o.record == nil || o.record.Built == nil {
		return
	}
	for _, c := range o.record.Built.Claims {
		v, err := m.volumes.NoteUse(o.key.Namespace, c.Name)
		if err != nil {
			m.log.Warn("note that a volume is used", "object", o.key.String(), "claim", c.Name, "error", err)
			continue
		}
		hold(heldDisk{path: v.Disk(), claim: c.Name})
	}
}

// lookAtDisks finds the sandboxes that run on a disk which was taken from under
// them. One that has lost its own is made anew: what was on it is gone already.
// One that has lost a volume is the last that has what was on that, so it is left
// alone, and says so. It is called by one goroutine at a time.
func (m *Manager) lookAtDisks(now time.Time) {
	if now.Sub(m.disksSeen) < disksInterval {
		return
	}
	m.disksSeen = now
	for _, o := range m.allObjects() {
		o.mu.Lock()
		if len(o.disks) > 0 && o.attach == AttachUp && o.vmUp && !o.ending && o.op == nil {
			m.checkDisks(o)
		}
		o.mu.Unlock()
	}
}

// checkDisks looks at the volumes first: while one is lost the sandbox is not made
// anew, for its VM is the last to have what was on that. o.mu is held.
func (m *Manager) checkDisks(o *object) {
	for i := range o.disks {
		d := &o.disks[i]
		if d.claim == "" || d.lost != "" {
			continue
		}
		if d.lost = d.change(); d.lost == "" {
			continue
		}
		m.event(o.key, eventWarning, ReasonVolumeLost, "%s, the volume of the claim %s, %s behind our back: %s", d.path, d.claim, d.lost, volumeLostAdvice)
		m.opts.Metrics.AddDrift(metrics.DriftDisk)
		m.queue.Add(o.key)
	}
	if o.volumesLost() != nil {
		return
	}
	for i := range o.disks {
		d := &o.disks[i]
		if d.claim != "" || d.lost != "" {
			continue
		}
		what := d.change()
		if what == "" {
			continue
		}
		next, built := *o.record, *o.record.Built
		built.BuildHash = "" // that of no manifest
		next.Built = &built
		if err := m.replaceRecord(o, &next); err != nil {
			m.log.Error("make a sandbox anew that has lost its disk", "object", o.key.String(), "error", err)
			return // The next look tries again.
		}
		d.lost = what
		m.event(o.key, eventWarning, ReasonDiskLost, "%s %s behind our back: the sandbox is made anew", d.path, what)
		m.opts.Metrics.AddDrift(metrics.DriftDisk)
		m.queue.Add(o.key)
	}
}

const volumeLostAdvice = "copy out what is needed before the sandbox ends, then put the volume right and restart it"

// volumesLost says which volumes were taken from under the VM; nil if none was.
func (o *object) volumesLost() *problem {
	var lost []string
	for _, d := range o.disks {
		if o.vmUp && d.lost != "" && d.claim != "" {
			lost = append(lost, fmt.Sprintf("the volume of the claim %s %s", d.claim, d.lost))
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return &problem{ReasonVolumeLost, strings.Join(lost, ", ") + ": " + volumeLostAdvice}
}
