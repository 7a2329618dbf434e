package manifests

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	podTemplateText = "template: {metadata: {labels: {app: a}, creationTimestamp: null}, spec: {restartPolicy: Never, containers: [{name: a, image: oci-layout:img}]}}"
	setTemplateText = "template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, image: b}]}}"
)

const claimSpec = "{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}"

func jobText(spec string) string {
	return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: pi}\nspec:\n  " + podTemplateText + "\n" + lines(spec)
}

func cronJobText(spec string) string {
	return "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tick}\nspec:\n  jobTemplate: {spec: {" + podTemplateText + "}}\n" + lines(spec)
}

func setText(spec string) string {
	return "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {app: a}}\n  " + setTemplateText + "\n" + lines(spec)
}

func lines(spec string) string {
	if spec == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(spec, "\n", "\n  ") + "\n"
}

func TestWorkloadsHaveKubernetesDefaults(t *testing.T) {
	job := one(t, jobText("")).Job.Spec
	if *job.Completions != 1 || *job.Parallelism != 1 || *job.BackoffLimit != 6 || *job.Suspend || *job.CompletionMode != "NonIndexed" {
		t.Errorf("job: %+v", job)
	}
	if image := job.Template.Spec.Containers[0].Image; image != "oci-layout:/m/img" {
		t.Errorf("the image's path is %q, want one beside the file", image)
	}
	queue := one(t, jobText("parallelism: 3")).Job.Spec
	if queue.Completions != nil {
		t.Errorf("a job with parallelism alone is a work queue; completions: %d", *queue.Completions)
	}
	cj := one(t, cronJobText("schedule: '@daily'")).CronJob.Spec
	if cj.ConcurrencyPolicy != "Allow" || *cj.SuccessfulJobsHistoryLimit != 3 || *cj.FailedJobsHistoryLimit != 1 {
		t.Errorf("cron job: %+v", cj)
	}
	set := one(t, setText("")).StatefulSet.Spec
	if *set.Replicas != 1 || set.PodManagementPolicy != "OrderedReady" || *set.RevisionHistoryLimit != 10 ||
		*set.UpdateStrategy.RollingUpdate.Partition != 0 || set.UpdateStrategy.RollingUpdate.MaxUnavailable.IntVal != 1 {
		t.Errorf("set: %+v", set)
	}
}

func TestWorkloadsAreValidated(t *testing.T) {
	for text, want := range map[string]string{
		jobText("parallelism: -1"):                                                                   "spec.parallelism: -1 is not between 0 and 1000",
		jobText("podFailurePolicy: {rules: [{}]}"):                                                   "podFailurePolicy is not supported yet",
		jobText("podReplacementPolicy: Failed"):                                                      "podReplacementPolicy is not supported yet",
		jobText("selector: {matchLabels: {a: b}}"):                                                   "selector has no meaning here",
		strings.Replace(jobText(""), "restartPolicy: Never, ", "", 1):                                "spec.template.spec.restartPolicy: must be OnFailure or Never",
		jobText("completionMode: Indexed\nparallelism: 2"):                                           "spec.completions: required",
		strings.Replace(jobText(""), "image: oci-layout:img", "imge: x", 1):                          `unknown field (did you mean "image"?)`,
		cronJobText("schedule: '* * * *'"):                                                           "x.yaml:6:13: CronJob default/tick: spec.schedule: not a schedule",
		cronJobText("schedule: 'TZ=UTC 0 0 * * *'"):                                                  "use timeZone",
		cronJobText("schedule: '@hourly'\ntimeZone: Mars/Base"):                                      `spec.timeZone: time zone "Mars/Base" is unknown`,
		cronJobText("schedule: '@hourly'\nconcurrencyPolicy: Never"):                                 "must be Allow, Forbid or Replace",
		setText("volumeClaimTemplates: [{spec: " + claimSpec + "}]"):                                 "spec.volumeClaimTemplates[0].metadata.name: required",
		setText("volumeClaimTemplates: [{kind: Pod, metadata: {name: a}, spec: " + claimSpec + "}]"): "spec.volumeClaimTemplates[0].kind: must be PersistentVolumeClaim",
		setText("volumeClaimTemplates: [{metadata: {name: a}, spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}}]"):     "several VMs cannot write to one disk",
		setText("volumeClaimTemplates: [{metadata: {name: a, annotations: {vzreconciler.dev/reclaim-policy: Delete}}, spec: " + claimSpec + "}]"): "persistentVolumeClaimRetentionPolicy of the set decides",
		setText("persistentVolumeClaimRetentionPolicy: {whenScaled: Recycle}"):                                                                    "whenScaled: must be Retain or Delete",
		setText("replicas: 1001"): "spec.replicas: 1001 is not between 0 and 1000",
		setText("updateStrategy: {rollingUpdate: {maxUnavailable: 0}}"):                     "must be a number of at least 1",
		setText("updateStrategy: {rollingUpdate: {maxUnavailable: x}}"):                     "maxUnavailable",
		strings.Replace(setText(""), "matchLabels: {app: a}", "matchLabels: {app: b}", 1):   "the selector does not match them",
		strings.Replace(setText(""), "name: web", "name: "+strings.Repeat("a", 62), 1):      "would have 64 characters",
		strings.Replace(setText(""), "{containers", "{restartPolicy: Never, containers", 1): "must be Always",
	} {
		got := messages(t, text)
		if len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("got %q, want one error with %q, from\n%s", got, want, text)
		}
	}
}

func TestNamesInTemplatesWarn(t *testing.T) {
	o := one(t, strings.Replace(jobText(""), "metadata: {labels", "metadata: {name: x, labels", 1))
	if len(o.Warnings) != 1 || !strings.Contains(o.Warnings[0], "spec.template.metadata.name: has no effect here") {
		t.Errorf("warnings %q", o.Warnings)
	}
}

func TestScheduleFollowsItsTimeZone(t *testing.T) {
	cj := one(t, cronJobText("schedule: '30 2 * * *'\ntimeZone: Europe/Berlin")).CronJob
	schedule, err := ParseSchedule(&cj.Spec)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	if got, want := schedule.Next(at), time.Date(2026, 6, 1, 0, 30, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("next is %s, want %s", got, want)
	}
}

// What a template makes is what a manifest of a Pod with the same text makes.
func TestPodFromTemplateIsAsWritten(t *testing.T) {
	job := one(t, jobText("")).Job
	made, err := PodFromTemplate(metav1.ObjectMeta{Name: "pi-1", Namespace: "default", Labels: map[string]string{"b": "c"}}, &job.Spec.Template)
	if err != nil {
		t.Fatal(err)
	}
	written := one(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: pi-1, labels: {app: a, b: c}}\nspec: {restartPolicy: Never, containers: [{name: a, image: oci-layout:/m/img}]}\n")
	if made.Sandbox.SpecHash() != written.Sandbox.SpecHash() || made.Key != written.Key {
		t.Errorf("differs: %+v", Classify(made.Sandbox, written.Sandbox))
	}
	if again := one(t, string(made.Manifest)); again.Sandbox.SpecHash() != made.Sandbox.SpecHash() {
		t.Errorf("its manifest says something else: %s", made.Manifest)
	}
	if job.Spec.Template.Labels["b"] != "" || job.Spec.Template.Spec.Hostname != "" {
		t.Error("the template was changed")
	}
}

// What a record keeps of a workload is what was parsed.
func TestWorkloadsSurviveJSON(t *testing.T) {
	for _, text := range []string{jobText(""), cronJobText("schedule: '@daily'"), setText("updateStrategy: {rollingUpdate: {maxUnavailable: 50%}}")} {
		o := one(t, text)
		data, err := json.Marshal([]any{o.Job, o.CronJob, o.StatefulSet})
		if err != nil {
			t.Fatal(err)
		}
		again := Object{}
		if err := json.Unmarshal(data, &[]any{&again.Job, &again.CronJob, &again.StatefulSet}); err != nil {
			t.Fatal(err)
		}
		if again.WorkloadHash() != o.WorkloadHash() || o.WorkloadHash() == "" {
			t.Errorf("another hash: %s", data)
		}
	}
}

// A set's sandbox has its claims beside its volumes, and its Pod shows them as volumes.
func TestPodOfASetHasItsClaims(t *testing.T) {
	set := one(t, setText("volumeClaimTemplates: [{metadata: {name: data}, spec: "+claimSpec+"}]")).StatefulSet
	made, err := PodFromTemplate(metav1.ObjectMeta{Name: "web-0", Namespace: "default"}, &set.Spec.Template, set.Spec.VolumeClaimTemplates...)
	if err != nil {
		t.Fatal(err)
	}
	claims := made.Sandbox.Claims()
	if len(claims) != 1 || claims[0].Name != "data-web-0" || claims[0].Template == nil {
		t.Errorf("claims: %+v", claims)
	}
	if !HasClaims(made.Sandbox, set.Spec.VolumeClaimTemplates) || HasClaims(made.Sandbox, nil) {
		t.Error("HasClaims is wrong")
	}
	if pod := one(t, string(made.Manifest)).Sandbox; pod.Claims()[0].Name != "data-web-0" {
		t.Errorf("the Pod's manifest: %s", made.Manifest)
	}
}

func TestImmutableClaims(t *testing.T) {
	templates := "volumeClaimTemplates: [{metadata: {name: data}, spec: " + claimSpec + "}]"
	was := one(t, setText(templates)).StatefulSet.Spec
	for text, want := range map[string]string{
		strings.Replace(templates, "1Gi", "2Gi", 1):                               "",
		strings.Replace(templates, "name: data", "name: data, labels: {a: b}", 1): "",
		strings.Replace(templates, "name: data", "name: more", 1):                 "volumeClaimTemplates",
		strings.Replace(templates, "ReadWriteOnce", "ReadWriteOncePod", 1):        "volumeClaimTemplates",
		"replicas: 1": "volumeClaimTemplates",
	} {
		now := one(t, setText(text)).StatefulSet.Spec
		if got := ImmutableClaims(&was, &now); got != want {
			t.Errorf("got %q, want %q, from\n%s", got, want, text)
		}
	}
}

func TestImmutableChange(t *testing.T) {
	was := one(t, jobText("")).Job.Spec
	for text, want := range map[string]string{
		jobText("parallelism: 2\ncompletions: 1\nsuspend: true"):      "",
		jobText("completions: 2"):                                     "completions",
		strings.Replace(jobText(""), "name: a,", "name: b,", 1):       "template",
		strings.Replace(jobText(""), "labels: {app", "labels: {b", 1): "template",
	} {
		now := one(t, text).Job.Spec
		if got := ImmutableChange(&was, &now); got != want {
			t.Errorf("got %q, want %q, from\n%s", got, want, text)
		}
	}
}
