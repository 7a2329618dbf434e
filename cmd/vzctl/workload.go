package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// isWorkload reports whether the object makes sandboxes of its own.
func (o *object) isWorkload() bool { return manifests.Key{Kind: o.Kind}.IsWorkload() }

// job, cronJob and statefulSet are objects of these kinds as the daemon sends them.
type (
	job struct {
		Spec   batchv1.JobSpec     `json:"spec"`
		Status manifests.JobStatus `json:"status"`
	}
	cronJob struct {
		Spec   batchv1.CronJobSpec     `json:"spec"`
		Status manifests.CronJobStatus `json:"status"`
	}
	statefulSet struct {
		Spec   appsv1.StatefulSetSpec      `json:"spec"`
		Status manifests.StatefulSetStatus `json:"status"`
	}
)

// decodeAs reads the object as one of a kind. What cannot be read is left empty:
// a manifest with an error is shown too.
func decodeAs[T any](o *object) *T {
	var v T
	_ = json.Unmarshal(o.raw, &v)
	return &v
}

// state sums a job up in one word, as kubectl does.
func (j *job) state(o *object) string {
	is := func(typ string) bool { return meta.IsStatusConditionTrue(j.Status.Conditions, typ) }
	switch {
	case is(manifests.ConditionComplete):
		return "Complete"
	case is(manifests.ConditionFailed):
		return "Failed"
	case o.DeletionTimestamp != nil:
		return "Terminating"
	case is(string(batchv1.JobSuspended)):
		return "Suspended"
	case is(manifests.ConditionFailureTarget):
		return "FailureTarget"
	case is(manifests.ConditionSuccessCriteriaMet):
		return "SuccessCriteriaMet"
	}
	return "Running"
}

// completions returns how many have succeeded, of how many: "1/3", "0/1 of 4".
func (j *job) completions() string {
	done := strconv.Itoa(int(j.Status.Succeeded)) + "/"
	switch parallelism := valueOr(j.Spec.Parallelism, 1); {
	case j.Spec.Completions != nil:
		return done + strconv.Itoa(int(*j.Spec.Completions))
	case parallelism > 1:
		return done + "1 of " + strconv.Itoa(int(parallelism))
	}
	return done + "1"
}

// took returns how long a job took, or has taken until now.
func (j *job) took(now time.Time) string {
	if j.Status.StartTime == nil {
		return ""
	}
	end := now
	if j.Status.CompletionTime != nil {
		end = j.Status.CompletionTime.Time
	} else if c := meta.FindStatusCondition(j.Status.Conditions, manifests.ConditionFailed); c != nil && c.Status == metav1.ConditionTrue {
		end = c.LastTransitionTime.Time
	}
	return duration.HumanDuration(max(end.Sub(j.Status.StartTime.Time), 0))
}

func (c *cronJob) timeZone() string { return orNone(valueOr(c.Spec.TimeZone, "")) }

func (c *cronJob) suspended() string {
	if valueOr(c.Spec.Suspend, false) {
		return "True"
	}
	return "False"
}

func (c *cronJob) lastSchedule(now time.Time) string {
	if c.Status.LastScheduleTime == nil {
		return orNone("")
	}
	return age(now, c.Status.LastScheduleTime.Time)
}

// ready returns how many replicas are ready, of how many: "2/3".
func (s *statefulSet) ready() string {
	return fmt.Sprintf("%d/%d", s.Status.ReadyReplicas, valueOr(s.Spec.Replicas, 1))
}

func valueOr[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// workloadState sums a workload up for a sentence.
func (o *object) workloadState() string {
	switch o.Kind {
	case manifests.KindJob:
		return decodeAs[job](o).state(o)
	case manifests.KindStatefulSet:
		return "ready " + decodeAs[statefulSet](o).ready()
	case manifests.KindSandboxWarmPool:
		return "ready " + decodeAs[warmPool](o).ready()
	case manifests.KindSandboxClaim:
		return decodeAs[sandboxClaim](o).state()
	}
	return "scheduled"
}

// hasTemplate reports whether a Pod's template is part of the object.
func (o *object) hasTemplate() bool {
	return o.Kind != manifests.KindSandboxWarmPool && o.Kind != manifests.KindSandboxClaim
}

// template is the Pod that an object's sandboxes are made from.
func (o *object) template() *corev1.PodSpec {
	switch o.Kind {
	case manifests.KindJob:
		return &decodeAs[job](o).Spec.Template.Spec
	case manifests.KindCronJob:
		return &decodeAs[cronJob](o).Spec.JobTemplate.Spec.Template.Spec
	case manifests.KindSandboxTemplate:
		return &decodeAs[manifests.SandboxTemplate](o).Spec.PodTemplate.Spec
	default:
		return &decodeAs[statefulSet](o).Spec.Template.Spec
	}
}

// namesAndImages lists the containers of a workload's sandboxes, and their images.
func (o *object) namesAndImages() (names, images string) {
	var ns, is []string
	for _, c := range o.template().Containers {
		ns, is = append(ns, c.Name), append(is, c.Image)
	}
	return orNone(strings.Join(ns, ",")), orNone(strings.Join(is, ","))
}

// controller names the workload that an object belongs to: "StatefulSet/web".
func (o *object) controller() string {
	if ref := metav1.GetControllerOf(&o.ObjectMeta); ref != nil {
		return ref.Kind + "/" + ref.Name
	}
	return ""
}

// workload describes a workload at length.
func (d *description) workload(o *object) {
	d.field(0, "Generation", strconv.FormatInt(o.Generation, 10))
	switch o.Kind {
	case manifests.KindJob:
		d.job(o, decodeAs[job](o))
	case manifests.KindCronJob:
		c := decodeAs[cronJob](o)
		d.field(0, "Schedule", c.Spec.Schedule)
		d.field(0, "Time zone", c.timeZone())
		d.field(0, "Suspended", c.suspended())
		d.field(0, "Concurrency policy", string(c.Spec.ConcurrencyPolicy))
		d.field(0, "Last schedule", c.lastSchedule(d.now))
		if t := c.Status.LastSuccessfulTime; t != nil {
			d.field(0, "Last success", d.since(t.Time))
		}
		var active []string
		for _, ref := range c.Status.Active {
			active = append(active, ref.Name)
		}
		d.field(0, "Active jobs", orNone(strings.Join(active, ", ")))
	case manifests.KindStatefulSet:
		s := decodeAs[statefulSet](o)
		st := &s.Status
		d.field(0, "Replicas", fmt.Sprintf("%d desired | %d total | %d ready | %d available | %d updated",
			valueOr(s.Spec.Replicas, 1), st.Replicas, st.ReadyReplicas, st.AvailableReplicas, st.UpdatedReplicas))
		d.field(0, "Update strategy", string(s.Spec.UpdateStrategy.Type))
		d.field(0, "Current revision", st.CurrentRevision)
		d.field(0, "Update revision", st.UpdateRevision)
	case manifests.KindSandboxWarmPool:
		d.warmPool(decodeAs[warmPool](o))
	case manifests.KindSandboxClaim:
		d.sandboxClaim(decodeAs[sandboxClaim](o))
	}
	if o.hasTemplate() {
		d.template(o)
	}
	d.conditions(o.Status.Conditions)
}

func (d *description) template(o *object) {
	names, images := o.namesAndImages()
	d.field(0, "Containers", names)
	d.field(0, "Images", images)
}

func (d *description) job(o *object, j *job) {
	d.field(0, "Status", j.state(o))
	d.field(0, "Completions", j.completions())
	d.field(0, "Parallelism", strconv.Itoa(int(valueOr(j.Spec.Parallelism, 1))))
	if j.Spec.CompletionMode != nil {
		d.field(0, "Completion mode", string(*j.Spec.CompletionMode))
	}
	d.field(0, "Completed indexes", j.Status.CompletedIndexes)
	if t := j.Status.StartTime; t != nil {
		d.field(0, "Started", d.since(t.Time))
	}
	if t := j.Status.CompletionTime; t != nil {
		d.field(0, "Completed", d.since(t.Time))
	}
	d.field(0, "Duration", j.took(d.now))
	d.field(0, "Sandboxes", fmt.Sprintf("%d active (%d ready) | %d succeeded | %d failed", j.Status.Active, j.Status.Ready, j.Status.Succeeded, j.Status.Failed))
}

// parseRefs reads names of sandboxes, and of workloads for all that they made.
func parseRefs(args []string, namespace string) ([]*api.Ref, error) {
	refs := make([]*api.Ref, len(args))
	for i, arg := range args {
		ref, err := parseRef(arg, namespace)
		if err != nil {
			return nil, err
		}
		if key := (manifests.Key{Kind: ref.GetKind()}); key.IsConfig() || key.Kind == manifests.KindCronJob {
			return nil, usagef("%q is not a sandbox, and has none of its own", arg)
		}
		refs[i] = ref
	}
	return refs, nil
}

// sandboxesOf returns the references with each workload replaced by the sandboxes
// that it has made.
func sandboxesOf(ctx context.Context, client *api.Client, refs []*api.Ref) ([]*api.Ref, error) {
	var all []*api.Ref
	for _, ref := range refs {
		if ref.GetKind() == manifests.KindSandbox {
			all = append(all, ref)
			continue
		}
		resp, err := client.Get(ctx, &api.GetRequest{Kind: "sandbox", Namespace: ref.GetNamespace()})
		if err != nil {
			return nil, err
		}
		objects, err := decodeObjects(resp.GetObjects())
		if err != nil {
			return nil, err
		}
		before := len(all)
		for _, o := range objects {
			if o.controller() == ref.GetKind()+"/"+ref.GetName() {
				all = append(all, &api.Ref{Kind: manifests.KindSandbox, Namespace: o.Namespace, Name: o.Name})
			}
		}
		if len(all) == before {
			return nil, fmt.Errorf("%s has no sandboxes: %w", refName(ref), drivers.ErrNotFound)
		}
	}
	return all, nil
}
