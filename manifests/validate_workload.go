package manifests

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // for hosts that have no time zones of their own

	"github.com/robfig/cron/v3"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Bounds of the workloads: what one host can be meant to do.
const (
	maxReplicas    = 1000
	maxCompletions = 100_000
	maxSeconds     = 1<<31 - 1
	// A CronJob's name leaves room for the minutes in those of its jobs, as
	// Kubernetes has it.
	maxCronJobName = 52
)

func (r *report) validateJob(path *field.Path, name string, s *batchv1.JobSpec) {
	r.validateLabelName(field.NewPath("metadata", "name"), name, "")
	r.validateJobSpec(path, name, s)
}

// validateJobSpec checks the spec of a job; the name is empty in a template.
func (r *report) validateJobSpec(path *field.Path, name string, s *batchv1.JobSpec) {
	inRange(r, path.Child("parallelism"), int64(*s.Parallelism), 0, maxReplicas)
	if s.Completions != nil {
		inRange(r, path.Child("completions"), int64(*s.Completions), 0, maxCompletions)
	}
	inRange(r, path.Child("backoffLimit"), int64(*s.BackoffLimit), 0, maxSeconds)
	if s.ActiveDeadlineSeconds != nil {
		inRange(r, path.Child("activeDeadlineSeconds"), *s.ActiveDeadlineSeconds, 0, maxSeconds)
	}
	if s.TTLSecondsAfterFinished != nil {
		inRange(r, path.Child("ttlSecondsAfterFinished"), int64(*s.TTLSecondsAfterFinished), 0, maxSeconds)
	}
	oneOf(r, path.Child("completionMode"), *s.CompletionMode, batchv1.NonIndexedCompletion, batchv1.IndexedCompletion)
	if *s.CompletionMode == batchv1.IndexedCompletion {
		if s.Completions == nil {
			r.errorf(path.Child("completions"), "required: an Indexed job has a fixed number of completions")
		} else if name != "" {
			r.validateLabelName(field.NewPath("metadata", "name"), name, strconv.Itoa(max(int(*s.Completions)-1, 0)))
		}
	}
	policy := path.Child("template", "spec", "restartPolicy")
	if p := s.Template.Spec.RestartPolicy; p == "" || p == corev1.RestartPolicyAlways {
		r.errorf(policy, "must be OnFailure or Never: a job's containers run to completion")
	}
}

// validateLabelName checks that a name, with a suffix of what it makes, can be a
// host name and the value of a label.
func (r *report) validateLabelName(path *field.Path, name, suffix string) {
	if suffix != "" {
		suffix = "-" + suffix
	}
	if n := len(name) + len(suffix); n > validation.DNS1123LabelMaxLength {
		r.errorf(path, "the name of what it makes would have %d characters; %d are the most", n, validation.DNS1123LabelMaxLength)
	}
}

func (r *report) validateCronJob(path *field.Path, c *batchv1.CronJob) {
	s := &c.Spec
	if len(c.Name) > maxCronJobName {
		r.errorf(field.NewPath("metadata", "name"), "the name has %d characters; %d are the most: those of its jobs are longer", len(c.Name), maxCronJobName)
	}
	if _, err := ParseSchedule(s); err != nil {
		at := path.Child("schedule")
		if strings.HasPrefix(err.Error(), "time zone") {
			at = path.Child("timeZone")
		}
		r.errorf(at, "%v", err)
	}
	if s.StartingDeadlineSeconds != nil {
		inRange(r, path.Child("startingDeadlineSeconds"), *s.StartingDeadlineSeconds, 0, maxSeconds)
	}
	oneOf(r, path.Child("concurrencyPolicy"), s.ConcurrencyPolicy,
		batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent)
	inRange(r, path.Child("successfulJobsHistoryLimit"), int64(*s.SuccessfulJobsHistoryLimit), 0, maxReplicas)
	inRange(r, path.Child("failedJobsHistoryLimit"), int64(*s.FailedJobsHistoryLimit), 0, maxReplicas)
	r.validateJobSpec(path.Child("jobTemplate", "spec"), "", &s.JobTemplate.Spec)
}

// ParseSchedule returns the schedule of a CronJob, in its time zone, else in this
// host's.
func ParseSchedule(s *batchv1.CronJobSpec) (cron.Schedule, error) {
	zone := time.Local
	if s.TimeZone != nil {
		name := *s.TimeZone
		if name == "" || strings.EqualFold(name, "Local") {
			return nil, fmt.Errorf("time zone %q: want a name such as Europe/Berlin or Etc/UTC", name)
		}
		var err error
		if zone, err = time.LoadLocation(name); err != nil {
			return nil, fmt.Errorf("time zone %q is unknown: want a name such as Europe/Berlin or Etc/UTC", clip(name))
		}
	}
	if strings.Contains(s.Schedule, "TZ") {
		return nil, errors.New("a time zone has no place in the schedule: use timeZone")
	}
	schedule, err := cron.ParseStandard(s.Schedule)
	if err != nil {
		return nil, fmt.Errorf(`not a schedule such as "*/5 * * * *" or "@daily": %s`, clip(err.Error()))
	}
	if spec, ok := schedule.(*cron.SpecSchedule); ok {
		spec.Location = zone
	}
	return schedule, nil
}

func (r *report) validateStatefulSet(path *field.Path, set *appsv1.StatefulSet) {
	s := &set.Spec
	inRange(r, path.Child("replicas"), int64(*s.Replicas), 0, maxReplicas)
	inRange(r, path.Child("revisionHistoryLimit"), int64(*s.RevisionHistoryLimit), 0, maxReplicas)
	inRange(r, path.Child("minReadySeconds"), int64(s.MinReadySeconds), 0, maxSeconds)
	start := int32(0)
	if s.Ordinals != nil {
		start = s.Ordinals.Start
		inRange(r, path.Child("ordinals", "start"), int64(start), 0, maxSeconds-maxReplicas)
	}
	r.validateLabelName(field.NewPath("metadata", "name"), set.Name, strconv.Itoa(int(start)+max(int(*s.Replicas)-1, 0)))
	oneOf(r, path.Child("podManagementPolicy"), s.PodManagementPolicy, appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement)
	r.validateUpdateStrategy(path.Child("updateStrategy"), &s.UpdateStrategy)
	if p := s.Template.Spec.RestartPolicy; p != "" && p != corev1.RestartPolicyAlways {
		r.errorf(path.Child("template", "spec", "restartPolicy"), "must be Always: the sandboxes of a set are kept running")
	}
	r.validateSelector(path, s)
	r.validateSetClaims(path, s)
}

func (r *report) validateUpdateStrategy(path *field.Path, u *appsv1.StatefulSetUpdateStrategy) {
	oneOf(r, path.Child("type"), u.Type, appsv1.RollingUpdateStatefulSetStrategyType, appsv1.OnDeleteStatefulSetStrategyType)
	rolling := path.Child("rollingUpdate")
	switch {
	case u.RollingUpdate == nil:
	case u.Type != appsv1.RollingUpdateStatefulSetStrategyType:
		r.errorf(rolling, "has no meaning with type %s", u.Type)
	default:
		if u.RollingUpdate.Partition != nil {
			inRange(r, rolling.Child("partition"), int64(*u.RollingUpdate.Partition), 0, maxSeconds)
		}
		n, err := intstr.GetScaledValueFromIntOrPercent(u.RollingUpdate.MaxUnavailable, maxReplicas, true)
		if err != nil || n < 1 || u.RollingUpdate.MaxUnavailable.Type == intstr.String && n > maxReplicas {
			r.errorf(rolling.Child("maxUnavailable"), `must be a number of at least 1, or a percentage from "1%%" to "100%%"`)
		}
	}
}

// validateSelector checks that the set would know its sandboxes by their labels,
// as in a cluster; here they are known by their owner.
func (r *report) validateSelector(path *field.Path, s *appsv1.StatefulSetSpec) {
	at := path.Child("selector")
	if s.Selector == nil || len(s.Selector.MatchLabels)+len(s.Selector.MatchExpressions) == 0 {
		r.errorf(at, "required: the labels of the template")
		return
	}
	selector, err := metav1.LabelSelectorAsSelector(s.Selector)
	if err != nil {
		r.errorf(at, "%v", err)
		return
	}
	if !selector.Matches(labels.Set(s.Template.Labels)) {
		r.errorf(path.Child("template", "metadata", "labels"), "the selector does not match them")
	}
}
