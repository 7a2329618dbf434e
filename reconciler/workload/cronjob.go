package workload

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vzreconciler/vzreconciler/manifests"
)

const (
	// maxMissed is how many missed times are nothing to tell of.
	maxMissed = 100
	// cronWait is the longest wait before looking at the clock again: it may have
	// been set, or the host have slept.
	cronWait = time.Minute
)

// Job is what a CronJob sees of a job of its own.
type Job struct {
	Name             string
	UID              types.UID
	Created          time.Time
	Finished, Failed bool
	At               time.Time // when it finished
	Deleting         bool
}

// CronJobPlan is what to do for a CronJob.
type CronJobPlan struct {
	Status manifests.CronJobStatus
	// Create, if not zero, is the scheduled time of the job to make.
	Create time.Time
	// Delete names the jobs to remove.
	Delete []string
	Events []Event
	Again  time.Time
}

// JobName is the name of a CronJob's job of a scheduled time, as in Kubernetes.
func JobName(cronJob string, scheduled time.Time) string {
	return fmt.Sprintf("%s-%d", cronJob, scheduled.Unix()/60)
}

// PlanCronJob decides on the jobs of a CronJob, with its defaults; created is when
// it was accepted, name its own. The error is about its schedule.
func PlanCronJob(name string, spec *batchv1.CronJobSpec, was manifests.CronJobStatus, created time.Time, jobs []Job, now time.Time) (CronJobPlan, error) {
	p := CronJobPlan{Status: was}
	schedule, err := manifests.ParseSchedule(spec)
	if err != nil {
		return p, err
	}
	jobs = slices.Clone(jobs)
	slices.SortFunc(jobs, func(a, b Job) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name)) })
	p.takeIn(jobs)
	p.forget(jobs, *spec.SuccessfulJobsHistoryLimit, false)
	p.forget(jobs, *spec.FailedJobsHistoryLimit, true)
	if !*spec.Suspend {
		p.schedule(name, spec, schedule, created, jobs, now)
	}
	return p, nil
}

// takeIn says in the status what runs and what succeeded last.
func (p *CronJobPlan) takeIn(jobs []Job) {
	p.Status.Active = nil
	for _, j := range jobs {
		switch {
		case !j.Finished && !j.Deleting:
			p.Status.Active = append(p.Status.Active, jobReference(j))
		case j.Finished && !j.Failed:
			if t := p.Status.LastSuccessfulTime; t == nil || t.Time.Before(j.At) {
				p.Status.LastSuccessfulTime = new(seconds(j.At))
			}
		}
	}
}

func jobReference(j Job) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: manifests.KindJob, Name: j.Name, UID: j.UID}
}

// forget removes the oldest finished jobs beyond a limit.
func (p *CronJobPlan) forget(jobs []Job, limit int32, failed bool) {
	var done []Job
	for _, j := range jobs {
		if j.Finished && j.Failed == failed && !j.Deleting {
			done = append(done, j)
		}
	}
	for i := range max(len(done)-int(limit), 0) {
		p.Delete = append(p.Delete, done[i].Name)
	}
}

// schedule makes the job of the last time that has passed, unless something
// speaks against it.
func (p *CronJobPlan) schedule(name string, spec *batchv1.CronJobSpec, schedule cron.Schedule, created time.Time, jobs []Job, now time.Time) {
	p.Again = now.Add(cronWait)
	if next := schedule.Next(now); !next.IsZero() {
		p.Again = earliest(p.Again, next)
	}
	since := created
	if p.Status.LastScheduleTime != nil {
		since = p.Status.LastScheduleTime.Time
	}
	if d := spec.StartingDeadlineSeconds; d != nil {
		// What is too late to be started is not counted as missed.
		if limit := now.Add(-time.Duration(*d) * time.Second); limit.After(since) {
			since = limit
		}
	}
	at, missed := mostRecent(schedule, since, now)
	if at.IsZero() {
		return
	}
	if missed > maxMissed {
		p.event(true, "TooManyMissedTimes", fmt.Sprintf("too many missed start times: more than %d. Set or decrease .spec.startingDeadlineSeconds or check clock skew", maxMissed))
	}
	if slices.ContainsFunc(jobs, func(j Job) bool { return j.Name == JobName(name, at) }) {
		// It was made before a daemon could note so.
		p.Status.LastScheduleTime = new(seconds(at))
		return
	}
	if len(p.Status.Active) > 0 {
		switch spec.ConcurrencyPolicy {
		case batchv1.ForbidConcurrent:
			// It is made when the other has ended, if that is not too late.
			p.event(false, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid")
			return
		case batchv1.ReplaceConcurrent:
			for _, ref := range p.Status.Active {
				p.Delete = append(p.Delete, ref.Name)
			}
			p.Status.Active = nil
		case batchv1.AllowConcurrent:
		}
	}
	p.Create = at
	p.Status.LastScheduleTime = new(seconds(at))
	p.Status.Active = append(p.Status.Active, jobReference(Job{Name: JobName(name, at)}))
}

// mostRecent returns the last scheduled time after since that has passed, zero if
// none has, and how many have; they are not counted beyond maxMissed+1.
func mostRecent(schedule cron.Schedule, since, now time.Time) (last time.Time, missed int) {
	due := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	for t := schedule.Next(since); due(t); t = schedule.Next(t) {
		if last, missed = t, missed+1; missed > maxMissed {
			break
		}
	}
	if missed <= maxMissed {
		return last, missed
	}
	if every, ok := schedule.(cron.ConstantDelaySchedule); ok {
		return last.Add(now.Sub(last).Truncate(every.Delay)), missed
	}
	// The rest may be very many: the last one is looked for backwards.
	for back := time.Minute; now.Add(-back).After(last); back *= 2 {
		if t := schedule.Next(now.Add(-back)); due(t) {
			last = t
			break
		}
	}
	for t := schedule.Next(last); due(t); t = schedule.Next(t) {
		last = t
	}
	return last, missed
}

func (p *CronJobPlan) event(warning bool, reason, message string) {
	p.Events = append(p.Events, Event{Warning: warning, Reason: reason, Message: message})
}

// ScheduledAnnotation tells of which scheduled time a job is.
const ScheduledAnnotation = "batch.kubernetes.io/cronjob-scheduled-timestamp"
