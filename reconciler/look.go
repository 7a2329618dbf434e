package reconciler

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

// syncState is what the last look at the manifests found.
type syncState struct {
	errors    []*manifests.Error
	held      []manifests.Key
	confirmed map[manifests.Key]time.Time // removals that need no further confirmation, and since when
	// doubts are the broken files that may hold an object whose own file is gone:
	// one may have been renamed and broken in one commit.
	doubts map[manifests.Key][]string
	// at is when the last look began; looked is closed when there is a newer one.
	at     time.Time
	looked chan struct{}
}

// snapshotIndex finds things in a Snapshot.
type snapshotIndex struct {
	complete bool
	settling bool
	sources  []source.Status
	claims   map[manifests.Key][]*manifests.Object
	byKey    map[manifests.Key][]*manifests.Error
	byFile   map[string][]*manifests.Error
	// nowhere are errors that are about no file that could be read: directories.
	nowhere *manifests.Error
}

func indexSnapshot(s source.Snapshot) snapshotIndex {
	x := snapshotIndex{
		complete: s.Complete,
		settling: s.Settling,
		sources:  s.Sources,
		claims:   make(map[manifests.Key][]*manifests.Object, len(s.Objects)),
		byKey:    map[manifests.Key][]*manifests.Error{},
		byFile:   map[string][]*manifests.Error{},
	}
	for _, obj := range s.Objects {
		x.claims[obj.Key] = append(x.claims[obj.Key], obj)
	}
	for _, e := range s.Errors {
		if e.Key != nil {
			x.byKey[*e.Key] = append(x.byKey[*e.Key], e)
		}
		x.byFile[e.File] = append(x.byFile[e.File], e)
		if e.Line == 0 && x.nowhere == nil {
			x.nowhere = e
		}
	}
	return x
}

// verdict is what the manifests say about one object.
type verdict struct {
	// object is to be applied; nil means that what was applied stays.
	object  *manifests.Object
	problem *problem
	// gone says that no manifest has the object any more, as far as can be told.
	gone bool
	// open says that the next look will tell: until then the last verdict stands.
	open bool
}

// judge decides what the manifests say about a key. applied is the file that
// the object was last applied from, empty if it never was.
//
// Whatever casts doubt on an object's absence keeps it: an error that names it,
// an error in the file it came from, a look that could not see everything.
func (x *snapshotIndex) judge(key manifests.Key, applied string) verdict {
	claims, errs := x.claims[key], x.byKey[key]
	switch {
	case len(claims) == 1 && len(errs) == 0:
		return verdict{object: claims[0], problem: x.stale(claims[0].Position.File)}
	case len(claims) == 1:
		return x.judgeHalfBroken(claims[0], errs[0], applied)
	case len(claims) > 1:
		return judgeDuplicate(claims, applied)
	case len(errs) > 0:
		return verdict{problem: invalid(errs)}
	case applied == "":
		return verdict{gone: true}
	case len(x.byFile[applied]) > 0:
		return verdict{problem: invalid(x.byFile[applied])}
	case x.settling:
		return verdict{open: true} // It may be on its way to another file.
	case !x.complete:
		message := "the manifests could not all be read: the object stays as it was applied"
		if x.nowhere != nil {
			message += ": " + x.nowhere.Error()
		}
		return verdict{problem: &problem{ReasonFileMissing, message}}
	}
	return verdict{gone: true}
}

// judgeHalfBroken decides between a good document and a broken one of the same
// name. The one in the file that was applied counts.
func (x *snapshotIndex) judgeHalfBroken(good *manifests.Object, bad *manifests.Error, applied string) verdict {
	v := verdict{problem: &problem{
		ReasonDuplicateName,
		fmt.Sprintf("%s has the same name as %s, which has an error: %s", good.Position, bad.Position, bad.Error()),
	}}
	if applied == good.Position.File && bad.File != applied {
		v.object = good
	}
	return v
}

// judgeDuplicate decides between several documents of one name: the one in the
// file that was applied stays in force. If none was, none is started, for no
// rule would choose the one that was meant.
func judgeDuplicate(claims []*manifests.Object, applied string) verdict {
	var (
		places []string
		chosen *manifests.Object
		same   int
	)
	for _, c := range claims {
		places = append(places, c.Position.String())
		if c.Position.File == applied {
			chosen = c
			same++
		}
	}
	if same != 1 {
		chosen = nil
	}
	message := "several manifests have this name: " + strings.Join(places, ", ")
	switch {
	case chosen != nil:
		message += "; the one in " + applied + " was applied and stays in force"
	case applied != "":
		message += "; what was applied stays in force"
	default:
		message += "; none was applied yet, so none is started: rename or remove all but one"
	}
	return verdict{object: chosen, problem: &problem{ReasonDuplicateName, message}}
}

func invalid(errs []*manifests.Error) *problem {
	message := errs[0].Error()
	if n := len(errs) - 1; n > 0 {
		message += fmt.Sprintf(" (and %d more)", n)
	}
	return &problem{ReasonInvalidManifest, message}
}

// look takes in what the manifests say now, and wakes each object for which
// that is news.
func (m *Manager) look(s source.Snapshot) {
	s = refuseCycles(s)
	x := indexSnapshot(s)
	applied := m.appliedFrom()
	verdicts := make(map[manifests.Key]verdict, len(applied))
	decide := func(key manifests.Key) {
		if _, ok := verdicts[key]; !ok {
			verdicts[key] = x.judge(key, applied[key])
		}
	}
	for key := range applied {
		decide(key)
	}
	for key := range x.claims {
		decide(key)
	}
	for key := range x.byKey {
		decide(key)
	}

	m.doubt(verdicts, applied, &x)
	m.withholdAll(verdicts)
	remove, held := m.decidePrune(verdicts, applied, &x, s.Time)
	for _, key := range held {
		message := fmt.Sprintf(
			"its manifest is gone, and too many others with it: %s at once; all stay until \"vzctl prune --confirm\"",
			describeHeld(held))
		if x.sourceOf(applied[key]) == nil {
			message = fmt.Sprintf("its manifest was %s, which is in none of the sources read now: it stays until \"vzctl prune --confirm\"", applied[key])
		}
		verdicts[key] = verdict{problem: &problem{ReasonPruneHeld, message}}
	}
	m.noteLook(s, verdicts, held)
	m.lookAtConfigs(verdicts)
	m.noteLeaving(verdicts)
	for key, v := range verdicts {
		if !key.IsConfig() && !v.open {
			m.intend(key, v, s.Time)
		}
	}
	m.lookAtDisks(s.Time)
	if len(remove) > 0 {
		m.log.Info("manifests are gone", "objects", len(remove))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.synced.at.IsZero() {
		m.kickAllNetworks() // What has no manifest is known only now.
	}
	m.synced.at = s.Time
	close(m.synced.looked)
	m.synced.looked = make(chan struct{})
}

// relook looks at the manifests and waits for that, but not for long: what keeps
// it from being done is told elsewhere.
func (m *Manager) relook() {
	asked, late := time.Now(), time.NewTimer(takenInTimeout)
	defer late.Stop()
	m.opts.Source.Resync()
	for {
		m.mu.Lock()
		at, looked := m.synced.at, m.synced.looked
		m.mu.Unlock()
		if !at.Before(asked) {
			return
		}
		select {
		case <-looked:
		case <-late.C:
			return
		case <-m.life.Done():
			return
		}
	}
}

// doubt keeps objects that are gone, while a file that came to be broken in the
// same look, and does not tell what is in it, may be where they went.
func (m *Manager) doubt(verdicts map[manifests.Key]verdict, applied map[manifests.Key]string, x *snapshotIndex) {
	inUse := make(map[string]bool, len(applied))
	for _, file := range applied {
		inUse[file] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known := map[string]bool{}
	for _, e := range m.synced.errors {
		known[e.File] = true
	}
	var fresh []string
	for file, errs := range x.byFile {
		anonymous := slices.ContainsFunc(errs, func(e *manifests.Error) bool { return e.Key == nil && e.Line > 0 })
		if anonymous && !known[file] && !inUse[file] {
			fresh = append(fresh, file)
		}
	}
	slices.Sort(fresh)
	doubts := map[manifests.Key][]string{}
	for key, v := range verdicts {
		if !v.gone || applied[key] == "" {
			if was := m.synced.doubts[key]; v.object == nil && was != nil {
				doubts[key] = was
			}
			continue
		}
		if _, asked := m.synced.confirmed[key]; asked {
			continue
		}
		files := slices.Clone(fresh)
		for _, file := range m.synced.doubts[key] {
			if len(x.byFile[file]) > 0 {
				files = append(files, file)
			}
		}
		if len(files) == 0 {
			continue
		}
		doubts[key] = files
		verdicts[key] = verdict{problem: &problem{ReasonInvalidManifest, fmt.Sprintf(
			"its manifest is gone, but may be in a file with an error: %s: the object stays until that is mended", x.byFile[files[0]][0])}}
	}
	m.synced.doubts = doubts
}

// appliedFrom returns the file that each recorded object came from. An object
// of which only an error is known has an empty one.
func (m *Manager) appliedFrom() map[manifests.Key]string {
	files := m.configFiles()
	for _, e := range m.allManaged() {
		e.mu.Lock()
		switch {
		case e.unreadable != "":
			// Nothing is known of it, so nothing may be concluded.
		case e.record != nil && e.record.Owner == nil:
			files[e.key] = e.record.Source.File
		default: // An owned one is wanted by no file, but by its owner.
			files[e.key] = ""
		}
		e.mu.Unlock()
	}
	return files
}

func (m *Manager) decidePrune(verdicts map[manifests.Key]verdict, applied map[manifests.Key]string, x *snapshotIndex, at time.Time) (remove, held []manifests.Key) {
	var gone, elsewhere []manifests.Key
	sandboxes := 0
	weigh := m.weights()
	for key, file := range applied {
		if file == "" || m.deleting(key) {
			continue
		}
		sandboxes += weigh(key)
		switch {
		case !verdicts[key].gone:
		case x.sourceOf(file) != nil:
			gone = append(gone, key)
		default:
			elsewhere = append(elsewhere, key)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// A look that began before the confirmation may still have seen the object.
	maps.DeleteFunc(m.synced.confirmed, func(key manifests.Key, since time.Time) bool {
		return verdicts[key].object != nil && at.After(since)
	})
	remove, held = prunable(gone, sandboxes, m.opts.MaxPrune, m.synced.confirmed, weigh)
	for _, key := range elsewhere {
		if _, ok := m.synced.confirmed[key]; ok {
			remove = append(remove, key)
		} else {
			held = append(held, key)
		}
	}
	return remove, held
}

func (m *Manager) deleting(key manifests.Key) bool {
	e := m.managed(key)
	if e == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.record != nil && e.record.DeletionTimestamp != nil
}

// intend gives an object its new intent, and wakes it if that is another.
func (m *Manager) intend(key manifests.Key, v verdict, seen time.Time) {
	e := m.hold(key, !v.gone && (v.object == nil || m.suspendedSince().IsZero()))
	if e == nil {
		return
	}
	defer e.mu.Unlock()
	if owner := e.owner(); owner != nil {
		m.intendOwned(e, owner, v)
		return
	}
	if v = m.withhold(e, v); v.open {
		return
	}
	was := e.intent
	if was.known && was.gone == v.gone && was.problem.equal(v.problem) && sameObject(was.object, v.object) {
		return
	}
	if v.problem != nil && !was.problem.equal(v.problem) && !v.problem.ofSource() {
		typ := eventWarning
		if v.problem.chosen() {
			typ = eventNormal
		}
		m.event(key, typ, v.problem.Reason, "%s", v.problem.Message)
	} else if v.problem == nil && was.problem != nil && v.object != nil && !was.problem.ofSource() {
		m.event(key, eventNormal, ReasonSynced, "the manifest in %s is followed again", v.object.Position)
	}
	e.intent = intent{known: true, object: v.object, gone: v.gone, problem: v.problem, seen: seen, judged: time.Now()}
	m.queue.Add(key)
}

func sameObject(a, b *manifests.Object) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Sandbox != nil && b.Sandbox != nil && !sameTemplates(a.Sandbox, b.Sandbox) {
		return false
	}
	return a.Position == b.Position && bytes.Equal(a.Manifest, b.Manifest) && sameRevision(a.Revision, b.Revision)
}

// sameTemplates reports whether two sandboxes whose manifests are the same have the
// same claims too: those that a StatefulSet makes are not in a Pod's manifest.
func sameTemplates(a, b *manifests.Sandbox) bool {
	return equality.Semantic.DeepEqual(a.Spec.VolumeClaimTemplates, b.Spec.VolumeClaimTemplates)
}
