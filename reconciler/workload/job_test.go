package workload

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vzreconciler/vzreconciler/manifests"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return noon.Add(d) }

// jobSpec is the spec of a job as Parse returns it.
func jobSpec(t *testing.T, spec string) *batchv1.JobSpec {
	t.Helper()
	policy := "Never"
	if rest, ok := strings.CutPrefix(spec, "OnFailure\n"); ok {
		policy, spec = "OnFailure", rest
	}
	objects, errs := manifests.Parse("j.yaml", []byte("apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec:\n  template: {spec: {restartPolicy: "+
		policy+", containers: [{name: a, image: b}]}}\n  "+strings.ReplaceAll(spec, "\n", "\n  ")+"\n"))
	if len(errs) > 0 {
		t.Fatal(errs[0])
	}
	return &objects[0].Job.Spec
}

// sandboxes reads "NAME[INDEX] STATE" separated by commas; STATE is run, ready, ok
// or bad, with the second since noon at which it ended, or gone. A sandbox that
// was made later has a greater name.
func sandboxes(t *testing.T, text string) []Sandbox {
	t.Helper()
	var list []Sandbox
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		s := Sandbox{Index: NoIndex}
		name, state, _ := strings.Cut(part, " ")
		if base, index, ok := strings.Cut(strings.TrimSuffix(name, "]"), "["); ok {
			name = base
			if _, err := fmt.Sscan(index, &s.Index); err != nil {
				t.Fatal(err)
			}
		}
		s.Name, s.UID, s.Created = name, types.UID(name), after(-time.Hour)
		word, number, _ := strings.Cut(state, " ")
		n := 0
		if number != "" {
			if _, err := fmt.Sscan(number, &n); err != nil {
				t.Fatal(err)
			}
		}
		switch word {
		case "run":
			s.Restarts = int32(n) //nolint:gosec // a test's
		case "ready":
			s.Ready, s.Since = true, noon
		case "ok", "bad":
			s.Finished, s.Failed, s.At = true, word == "bad", after(time.Duration(n)*time.Second)
		case "gone":
			s.Deleting = true
		default:
			t.Fatalf("unknown state %q", state)
		}
		list = append(list, s)
	}
	return list
}

func conditions(list []metav1.Condition) string {
	var words []string
	for _, c := range list {
		word := c.Type
		if c.Status != metav1.ConditionTrue {
			word = "not" + word
		}
		words = append(words, word+"="+c.Reason)
	}
	return strings.Join(words, " ")
}

func TestPlanJob(t *testing.T) {
	started := JobState{Status: manifests.JobStatus{StartTime: new(metav1.NewTime(noon))}}
	for name, tc := range map[string]struct {
		spec       string
		was        JobState
		there      string
		at         time.Duration
		create     []int
		del        string
		conditions string
		again      time.Duration
		counts     string // active ready terminating succeeded failed
	}{
		"begins":                      {create: []int{NoIndex}, counts: "1 0 0 0 0"},
		"runs":                        {was: started, there: "a ready", counts: "1 1 0 0 0"},
		"no more at once":             {spec: "completions: 5\nparallelism: 2", was: started, there: "a ok 1", at: 2 * time.Second, create: []int{NoIndex, NoIndex}, counts: "2 0 0 1 0"},
		"no more than needed":         {spec: "completions: 3\nparallelism: 3", was: started, there: "a ok 1, b ok 1, c run", at: 2 * time.Second, counts: "1 0 0 2 0"},
		"indexed: the lowest missing": {spec: "completionMode: Indexed\ncompletions: 4\nparallelism: 2", was: started, there: "a[0] run, b[1] ok 1", at: 2 * time.Second, create: []int{2}, counts: "2 0 0 1 0"},
		"complete":                    {was: started, there: "a ok 5", at: 6 * time.Second, conditions: "SuccessCriteriaMet=CompletionsReached Complete=CompletionsReached", counts: "0 0 0 1 0"},
		"none wanted":                 {spec: "completions: 0", conditions: "SuccessCriteriaMet=CompletionsReached Complete=CompletionsReached", counts: "0 0 0 0 0"},
		"work queue waits for others": {spec: "parallelism: 2", was: started, there: "a ok 1, b run", at: 2 * time.Second, counts: "1 0 0 1 0"},
		"work queue is done":          {spec: "parallelism: 2", was: started, there: "a ok 1, b ok 2", at: 2 * time.Second, conditions: "SuccessCriteriaMet=CompletionsReached Complete=CompletionsReached", counts: "0 0 0 2 0"},
		"back-off":                    {was: started, there: "a bad 5", at: 6 * time.Second, again: 15 * time.Second, counts: "0 0 0 0 1"},
		"after the back-off":          {was: started, there: "a bad 5", at: 15 * time.Second, create: []int{NoIndex}, counts: "1 0 0 0 1"},
		"longer back-off":             {was: started, there: "a bad 5, b bad 20, c bad 60", at: 61 * time.Second, again: 100 * time.Second, counts: "0 0 0 0 3"},
		"success ends the back-off":   {spec: "completions: 2", was: started, there: "a bad 5, b ok 20", at: 21 * time.Second, create: []int{NoIndex}, counts: "1 0 0 1 1"},
		"limit of failures":           {spec: "backoffLimit: 1", was: started, there: "a bad 1, b bad 30", at: 31 * time.Second, conditions: "FailureTarget=BackoffLimitExceeded Failed=BackoffLimitExceeded", counts: "0 0 0 0 2"},
		"others end with it":          {spec: "backoffLimit: 0\ncompletions: 2\nparallelism: 2", was: started, there: "a bad 1, b run", at: 2 * time.Second, del: "b", conditions: "FailureTarget=BackoffLimitExceeded", counts: "0 0 1 0 2"},
		"limit of restarts":           {spec: "OnFailure\nbackoffLimit: 2", was: started, there: "a run 2", del: "a", conditions: "FailureTarget=BackoffLimitExceeded", counts: "0 0 1 0 1"},
		"restarts below it":           {spec: "OnFailure\nbackoffLimit: 3", was: started, there: "a run 2", counts: "1 0 0 0 0"},
		"looks at the deadline":       {spec: "activeDeadlineSeconds: 60", was: started, there: "a run", again: time.Minute, counts: "1 0 0 0 0"},
		"deadline":                    {spec: "activeDeadlineSeconds: 60", was: started, there: "a run", at: time.Minute, del: "a", conditions: "FailureTarget=DeadlineExceeded", counts: "0 0 1 0 1"},
		"suspended at once":           {spec: "suspend: true", conditions: "Suspended=JobSuspended", counts: "0 0 0 0 0"},
		"suspended":                   {spec: "suspend: true", was: started, there: "a run", del: "a", conditions: "Suspended=JobSuspended", counts: "0 0 1 0 0"},
		"fewer at once":               {spec: "completions: 5\nparallelism: 1", was: started, there: "a ready, b run", del: "b", counts: "1 1 1 0 0"},
		"removed by somebody else":    {was: started, there: "a gone", at: time.Second, again: 11 * time.Second, counts: "0 0 1 0 1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := PlanJob(jobSpec(t, tc.spec), tc.was, sandboxes(t, tc.there), after(tc.at))
			if !slices.Equal(p.Create, tc.create) || strings.Join(p.Delete, ",") != tc.del {
				t.Errorf("create %v, delete %v; want %v, %q", p.Create, p.Delete, tc.create, tc.del)
			}
			if got := conditions(p.State.Status.Conditions); got != tc.conditions {
				t.Errorf("conditions %q, want %q", got, tc.conditions)
			}
			if want := after(tc.again); tc.again == 0 && !p.Again.IsZero() || tc.again != 0 && !p.Again.Equal(want) {
				t.Errorf("looks again at %s, want %s", p.Again, want)
			}
			st := p.State.Status
			if got := fmt.Sprint(st.Active, st.Ready, st.Terminating, st.Succeeded, st.Failed); got != tc.counts {
				t.Errorf("active, ready, terminating, succeeded, failed %q, want %q", got, tc.counts)
			}
		})
	}
}

// A plan that was kept, but not carried out, is made again; and what was counted is
// counted once.
func TestPlanJobIsRepeatable(t *testing.T) {
	spec := jobSpec(t, "backoffLimit: 0\ncompletions: 2\nparallelism: 2")
	there := sandboxes(t, "a bad 1, b run")
	first := PlanJob(spec, JobState{}, there, after(2*time.Second))
	second := PlanJob(spec, first.State, there, after(3*time.Second))
	if strings.Join(second.Delete, ",") != "b" || second.State.Status.Failed != first.State.Status.Failed {
		t.Errorf("delete %v, %d failed; want b, %d", second.Delete, second.State.Status.Failed, first.State.Status.Failed)
	}
	last := PlanJob(spec, second.State, sandboxes(t, "a bad 1"), after(4*time.Second))
	if _, failed, ok := Finished(&last.State.Status); !ok || !failed {
		t.Errorf("conditions %q, want Failed", conditions(last.State.Status.Conditions))
	}
	if again := PlanJob(spec, last.State, nil, after(time.Hour)); len(again.Create) > 0 || again.State.Status.Failed != 2 {
		t.Errorf("a finished job makes %v, and has %d failed", again.Create, again.State.Status.Failed)
	}
}

func TestSuspendedJobResumes(t *testing.T) {
	p := PlanJob(jobSpec(t, "suspend: true"), JobState{}, nil, noon)
	p = PlanJob(jobSpec(t, "suspend: false"), p.State, nil, after(time.Hour))
	if got := conditions(p.State.Status.Conditions); got != "notSuspended=JobResumed" || len(p.Create) != 1 || !p.State.Status.StartTime.Time.Equal(after(time.Hour)) {
		t.Errorf("conditions %q, create %v, started %s", got, p.Create, p.State.Status.StartTime)
	}
}

func TestFinishedJobLosesItsSandboxesAfterTheTTL(t *testing.T) {
	spec := jobSpec(t, "ttlSecondsAfterFinished: 60")
	p := PlanJob(spec, JobState{}, sandboxes(t, "a ok 1"), after(2*time.Second))
	if p = PlanJob(spec, p.State, sandboxes(t, "a ok 1"), after(3*time.Second)); !p.Again.Equal(after(62*time.Second)) || len(p.Delete) > 0 {
		t.Errorf("again %s, delete %v", p.Again, p.Delete)
	}
	if p = PlanJob(spec, p.State, sandboxes(t, "a ok 1"), after(62*time.Second)); strings.Join(p.Delete, ",") != "a" {
		t.Errorf("delete %v, want a", p.Delete)
	}
	if p = PlanJob(spec, p.State, nil, after(time.Hour)); len(p.Create) > 0 || p.State.Status.Succeeded != 1 {
		t.Errorf("it runs again: %v", p.Create)
	}
}

func TestJobDelay(t *testing.T) {
	for failures, want := range map[int32]time.Duration{0: 0, 1: 10 * time.Second, 2: 20 * time.Second, 3: 40 * time.Second, 7: 10 * time.Minute, 1 << 30: 10 * time.Minute} {
		if got := jobDelay(failures); got != want {
			t.Errorf("%d failures: %s, want %s", failures, got, want)
		}
	}
}

func TestIndexes(t *testing.T) {
	for _, text := range []string{"", "0", "1,2", "1,3-5,7", "0-100"} {
		if got := parseIndexes(text).String(); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
}
