package reconciler

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// Plan implements api.Backend.
func (m *Manager) Plan(_ context.Context, req *api.PlanRequest) (*api.PlanResponse, error) {
	o, err := m.sandbox(req.GetObject())
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dead {
		return nil, m.notFound(o.key)
	}
	if o.record == nil {
		resp := &api.PlanResponse{Goal: string(GoalHold)}
		if o.intent.problem != nil {
			resp.Waits = []string{o.intent.problem.Message}
		}
		return resp, nil
	}
	now := time.Now()
	d, refs := m.desired(o)
	ob := m.observed(o, refs, now)
	p := plan(d, ob)
	if len(p.Actions) == 0 && p.Again.After(now) {
		// What comes when the wait is over.
		later := ob
		later.Now = p.Again
		p.Actions = plan(d, later).Actions
	}
	resp := &api.PlanResponse{Goal: string(d.Goal), Rebuild: string(d.Rebuild), Waits: o.waits(d, refs, p, now)}
	if o.op != nil {
		resp.Current, resp.Note = planStep(o.op.action), o.op.note
		if len(p.Actions) > 0 && p.Actions[0] == o.op.action {
			p.Actions = p.Actions[1:]
		}
	}
	for _, a := range p.Actions {
		resp.Next = append(resp.Next, planStep(a))
	}
	return resp, nil
}

func planStep(a Action) *api.PlanStep {
	return &api.PlanStep{Verb: string(a.Verb), Container: a.Container, Description: a.Verb.describe()}
}

// waits says what a sandbox waits for, or what holds it, for people. o.mu is held.
func (o *object) waits(d Desired, refs referred, p Plan, now time.Time) []string {
	var waits []string
	say := func(format string, args ...any) { waits = append(waits, fmt.Sprintf(format, args...)) }
	switch {
	case d.Goal == GoalHold:
		say("the manifests have not been looked at yet")
	case d.Goal == GoalStop:
		say(`stopped by a user; "vzctl start %s" lets it run`, o.key.Name)
	case o.record.Overrides.Paused:
		say(`paused by a user; "vzctl resume %s" lets it run`, o.key.Name)
	}
	if o.intent.problem != nil {
		say("%s", o.intent.problem.Message)
	}
	for _, missing := range slices.Concat(refs.missing, refs.busy) {
		say("missing: %s", missing)
	}
	for _, first := range refs.waiting {
		say("waits for %s", first)
	}
	if verb, f := o.lastFailure(); f != nil {
		say("%s failed, %s: %v", verb, plural(f.tries, "try", "tries"), f.err)
	}
	if o.snapshot.State == drivers.StateStopping {
		say("the virtual machine is on its way down")
	}
	if p.Again.After(now) {
		say("back-off until %s", p.Again.Local().Format(time.TimeOnly))
	}
	slices.Sort(waits)
	return slices.Compact(waits)
}

// describe says what a verb does, for people.
func (v Verb) describe() string {
	switch v {
	case ActReattach:
		return "look for a plugin process that an earlier daemon left running"
	case ActPrepare:
		return "bring the images here, find the kernel, translate the manifest"
	case ActLaunch:
		return "start the plugin process"
	case ActBootstrap:
		return "boot the virtual machine"
	case ActTakeOver:
		return "have a new plugin process take the virtual machine over"
	case ActStart:
		return "start a container"
	case ActKill:
		return "end a container that a probe found unhealthy"
	case ActUpdate:
		return "change limits, resolver and host names of what runs"
	case ActPause:
		return "stop the CPUs"
	case ActResume:
		return "let the CPUs run again"
	case ActStop:
		return "end the containers and the virtual machine"
	case ActShutdown:
		return "end the plugin process"
	case ActCleanUp:
		return "end what a lost plugin process left behind"
	case ActRemoveDisk:
		return "remove the writable disk, for a fresh one"
	case ActRemove:
		return "remove the bundle and forget the sandbox"
	}
	return ""
}
