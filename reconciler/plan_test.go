package reconciler

import (
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestPlan(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	later := now.Add(time.Minute)
	one := []string{"a"}
	run := Desired{Goal: GoalRun, Containers: one}
	with := func(d Desired, change func(*Desired)) Desired { change(&d); return d }
	blocked := with(run, func(d *Desired) { d.Blocked = true })
	renew := with(run, func(d *Desired) { d.Rebuild = RebuildNew })
	restart := with(run, func(d *Desired) { d.Rebuild = RebuildRestart })
	update := with(run, func(d *Desired) { d.Update = true })
	waiting := with(run, func(d *Desired) { d.Waiting = true })
	yields := with(waiting, func(d *Desired) { d.Rebuild, d.Yields = RebuildNew, true })
	goal := func(g Goal) Desired { return Desired{Goal: g, Containers: one} }
	up := func(s drivers.State, p drivers.ProcessState) Observed {
		return Observed{Now: now, Attach: AttachUp, State: s, Processes: map[string]drivers.ProcessState{"a": p}}
	}
	obs := func(o Observed, change func(*Observed)) Observed { change(&o); return o }
	none := Observed{Now: now, Attach: AttachNone}
	lost := Observed{Now: now, Attach: AttachLost}
	survivor := Observed{Now: now, Attach: AttachLost, Survivor: true}
	running := up(drivers.StateRunning, drivers.ProcessRunning)
	exited := up(drivers.StateRunning, drivers.ProcessExited)
	prepared := func(o *Observed) { o.Prepared = true }
	unhealthy := func(o *Observed) { o.Containers = map[string]ObservedContainer{"a": {Unhealthy: true}} }

	for _, tc := range []struct {
		name string
		d    Desired
		o    Observed
		want string
		at   time.Time
	}{
		{"look for an earlier process first", goal(GoalDelete), Observed{Now: now, Attach: AttachUnknown}, "Reattach", time.Time{}},
		{"hold", goal(GoalHold), lost, "", time.Time{}},

		{"VM outlived its plugin process", run, survivor, "Launch, TakeOver", time.Time{}},
		{"so it is stopped in good order", goal(GoalStop), survivor, "Launch, TakeOver", time.Time{}},
		{"and replaced only once all is at hand", renew, survivor, "Launch, TakeOver", time.Time{}},
		{"plugin process to take it over is there", run, obs(survivor, func(o *Observed) {
			o.Attach, o.State = AttachUp, drivers.StateCreated
		}), "TakeOver", time.Time{}},
		{"take-over put off", run, obs(survivor, func(o *Observed) { o.BuildAfter = later }), "", later},

		{"from nothing", run, none, "Prepare, Launch, Bootstrap, StartContainer a", time.Time{}},
		{"from nothing to paused", goal(GoalPause), none, "Prepare, Launch, Bootstrap, StartContainer a, Pause", time.Time{}},
		{"prepared", run, obs(none, prepared), "Launch, Bootstrap, StartContainer a", time.Time{}},
		{"launched", run, obs(up(drivers.StateCreated, ""), prepared), "Bootstrap, StartContainer a", time.Time{}},
		{"launched by an earlier daemon", run, up(drivers.StateCreated, ""), "Prepare, Bootstrap, StartContainer a", time.Time{}},
		{"booted", run, up(drivers.StateBooted, drivers.ProcessCreated), "StartContainer a", time.Time{}},
		{"runs", run, running, "", time.Time{}},
		{"blocked from nothing", blocked, none, "", time.Time{}},
		{"blocked, but it runs", blocked, running, "", time.Time{}},
		{"blocked after launch", blocked, up(drivers.StateCreated, ""), "Shutdown", time.Time{}},
		{"waiting from nothing: all is brought here", waiting, none, "Prepare", time.Time{}},
		{"waiting, prepared", waiting, obs(none, prepared), "", time.Time{}},
		{"waiting, but it runs", waiting, running, "", time.Time{}},
		{"waiting with a container that exited", waiting, exited, "StartContainer a", time.Time{}},
		{"waiting after launch", waiting, up(drivers.StateCreated, ""), "Shutdown", time.Time{}},
		{"waiting to be made anew: the old one stays", with(renew, func(d *Desired) { d.Waiting = true }), obs(running, prepared), "", time.Time{}},
		{"it gives its volume up: its VM is ended once the next one is at hand", yields, obs(running, prepared), "Stop, Shutdown", time.Time{}},
		{"and not before", yields, running, "Prepare, Stop, Shutdown", time.Time{}},
		{"it has given it up", yields, obs(none, prepared), "", time.Time{}},
		{"waiting and lost", waiting, lost, "CleanUp", time.Time{}},
		{"waiting to be deleted", with(goal(GoalDelete), func(d *Desired) { d.Waiting = true }), running, "", time.Time{}},
		{"build put off", run, obs(none, func(o *Observed) { o.BuildAfter = later }), "", later},
		{"clearing away is not put off by a failed build", run, obs(up(drivers.StateStopped, ""), func(o *Observed) { o.BuildAfter = later }), "Shutdown", time.Time{}},

		{"container exited", run, exited, "StartContainer a", time.Time{}},
		{"container backs off", run, obs(exited, func(o *Observed) {
			o.Containers = map[string]ObservedContainer{"a": {StartAfter: later}}
		}), "", later},
		{"container is done", run, obs(exited, func(o *Observed) {
			o.Containers = map[string]ObservedContainer{"a": {Done: true}}
		}), "", time.Time{}},
		{"a container that is done is not started in a fresh VM", run, obs(up(drivers.StateBooted, drivers.ProcessCreated), func(o *Observed) {
			o.Containers = map[string]ObservedContainer{"a": {Done: true}}
		}), "", time.Time{}},
		{"unhealthy", run, obs(running, unhealthy), "KillContainer a", time.Time{}},
		{"unhealthy, to be paused", goal(GoalPause), obs(running, unhealthy), "KillContainer a", time.Time{}},
		{"unhealthy and paused", goal(GoalPause), obs(up(drivers.StatePaused, drivers.ProcessRunning), unhealthy), "", time.Time{}},
		{"unhealthy, to be stopped", goal(GoalStop), obs(running, unhealthy), "Stop, Shutdown", time.Time{}},
		{"unhealthy and gone", run, obs(exited, unhealthy), "StartContainer a", time.Time{}},
		{"its end is retried later", run, obs(running, func(o *Observed) { unhealthy(o); o.EndAfter = later }), "", later},
		{"update", update, running, "Update", time.Time{}},
		{"update comes after starts", update, exited, "StartContainer a", time.Time{}},
		{"update, nothing runs", update, none, "Prepare, Launch, Bootstrap, StartContainer a", time.Time{}},
		{"update while paused", with(update, func(d *Desired) { d.Goal = GoalPause }), up(drivers.StatePaused, drivers.ProcessRunning), "", time.Time{}},
		{"update, to be paused", with(update, func(d *Desired) { d.Goal = GoalPause }), running, "Update", time.Time{}},
		{"a failed update is retried later", update, obs(running, func(o *Observed) { o.UpdateAfter = later }), "", later},
		{"and puts no start off", update, obs(exited, func(o *Observed) { o.UpdateAfter = later }), "StartContainer a", time.Time{}},
		{"finished", run, obs(exited, func(o *Observed) { o.Finished = true }), "Stop, Shutdown", time.Time{}},
		{"finished and ended", run, obs(none, func(o *Observed) { o.Finished = true }), "", time.Time{}},

		{"pause", goal(GoalPause), running, "Pause", time.Time{}},
		{"do not pause a container in back-off", goal(GoalPause), obs(exited, func(o *Observed) {
			o.Containers = map[string]ObservedContainer{"a": {StartAfter: later}}
		}), "", later},
		{"pause is put off after a failure", goal(GoalPause), obs(running, func(o *Observed) { o.EndAfter = later }), "", later},
		{"a start is put off after a failure", run, obs(exited, func(o *Observed) { o.EndAfter = later }), "", later},
		{"paused", goal(GoalPause), up(drivers.StatePaused, drivers.ProcessRunning), "", time.Time{}},
		{"resume", run, up(drivers.StatePaused, drivers.ProcessRunning), "Resume", time.Time{}},

		{"VM lost", run, up(drivers.StateStopped, ""), "Shutdown", time.Time{}},
		{"plugin lost", run, lost, "CleanUp", time.Time{}},
		{"stopping already", run, up(drivers.StateStopping, ""), "", time.Time{}},

		{"recreate", renew, running, "Prepare, Stop, Shutdown, RemoveDisk, Launch, Bootstrap, StartContainer a", time.Time{}},
		{"recreate, prepared", renew, obs(running, prepared), "Stop, Shutdown, RemoveDisk, Launch, Bootstrap, StartContainer a", time.Time{}},
		{"recreate, stopped", renew, obs(none, prepared), "RemoveDisk, Launch, Bootstrap, StartContainer a", time.Time{}},
		{"recreate is put off after a failure", renew, obs(running, func(o *Observed) { o.BuildAfter = later }), "", later},
		{"recreate is blocked", with(renew, func(d *Desired) { d.Blocked = true }), running, "", time.Time{}},
		{"restart keeps the disk", restart, running, "Prepare, Stop, Shutdown, Launch, Bootstrap, StartContainer a", time.Time{}},
		{"restart, fresh VM", restart, obs(up(drivers.StateCreated, ""), prepared), "Bootstrap, StartContainer a", time.Time{}},

		{"suspend", goal(GoalSuspend), running, "Stop, Shutdown", time.Time{}},
		{"suspend while paused", goal(GoalSuspend), up(drivers.StatePaused, ""), "Resume, Stop, Shutdown", time.Time{}},
		{"stop before the boot", goal(GoalStop), up(drivers.StateCreated, ""), "Shutdown", time.Time{}},
		{"stopped", goal(GoalStop), up(drivers.StateStopped, ""), "Shutdown", time.Time{}},
		{"stopped and gone", goal(GoalStop), none, "", time.Time{}},
		{"end put off after a failure", goal(GoalStop), obs(running, func(o *Observed) { o.EndAfter = later }), "", later},

		{"delete", goal(GoalDelete), running, "Stop, Shutdown, Remove", time.Time{}},
		{"delete, blocked", with(goal(GoalDelete), func(d *Desired) { d.Blocked = true }), running, "Stop, Shutdown, Remove", time.Time{}},
		{"delete, stopping", goal(GoalDelete), up(drivers.StateStopping, ""), "", time.Time{}},
		{"delete, plugin lost", goal(GoalDelete), lost, "CleanUp, Remove", time.Time{}},
		{"delete, nothing runs", goal(GoalDelete), none, "Remove", time.Time{}},
		{"delete is retried later", goal(GoalDelete), obs(none, func(o *Observed) { o.EndAfter = later }), "", later},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := plan(tc.d, tc.o)
			var got []string
			for _, a := range p.Actions {
				got = append(got, a.String())
			}
			if s := strings.Join(got, ", "); s != tc.want || !p.Again.Equal(tc.at) {
				t.Fatalf("got %q again at %v, want %q at %v", s, p.Again, tc.want, tc.at)
			}
		})
	}
}
