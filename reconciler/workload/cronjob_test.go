package workload

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
)

func cronSpec(t *testing.T, spec string) *batchv1.CronJobSpec {
	t.Helper()
	objects, errs := manifests.Parse("c.yaml", []byte("apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec:\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}}\n  timeZone: Etc/UTC\n  "+
		strings.ReplaceAll(spec, "\n", "\n  ")+"\n"))
	if len(errs) > 0 {
		t.Fatal(errs[0])
	}
	return &objects[0].CronJob.Spec
}

func TestPlanCronJob(t *testing.T) {
	const every5 = "schedule: '*/5 * * * *'\n"
	running := Job{Name: "old", Created: after(-time.Hour)}
	for name, tc := range map[string]struct {
		spec   string
		last   time.Duration // scheduled last, after noon; 0: never
		jobs   []Job
		at     time.Duration
		create time.Duration // -1: nothing
		del    string
		event  string
		again  time.Duration
	}{
		"waits":                       {spec: every5, at: time.Minute, create: -1, again: 2 * time.Minute},
		"waits no longer than needed": {spec: every5, at: 4*time.Minute + 30*time.Second, create: -1, again: 5 * time.Minute},
		"its time":                    {spec: every5, at: 5 * time.Minute, create: 5 * time.Minute},
		"once for each time":          {spec: every5, last: 5 * time.Minute, at: 6 * time.Minute, create: -1},
		"made but not noted":          {spec: every5, jobs: []Job{{Name: JobName("c", after(5*time.Minute))}}, at: 6 * time.Minute, create: -1},
		"missed: the last one":        {spec: every5, at: 63 * time.Minute, create: time.Hour},
		"too many missed":             {spec: every5, at: 24 * time.Hour * 365, create: 24 * time.Hour * 365, event: "TooManyMissedTimes"},
		"many missed of @every":       {spec: "schedule: '@every 7s'", at: 24*time.Hour + 3*time.Second, create: 24*time.Hour + time.Second, event: "TooManyMissedTimes"},
		"uneven schedule":             {spec: "schedule: '0,1 0 * * *'", at: 1000*24*time.Hour + 3*time.Hour, create: 999*24*time.Hour + 12*time.Hour + time.Minute, event: "TooManyMissedTimes"},
		"too late":                    {spec: every5 + "startingDeadlineSeconds: 30", at: 6 * time.Minute, create: -1},
		"just in time":                {spec: every5 + "startingDeadlineSeconds: 90", at: 6 * time.Minute, create: 5 * time.Minute},
		"suspended":                   {spec: every5 + "suspend: true", at: time.Hour, create: -1},
		"never":                       {spec: "schedule: '0 0 31 2 *'", at: time.Hour, create: -1},
		"allow":                       {spec: every5, jobs: []Job{running}, at: 5 * time.Minute, create: 5 * time.Minute},
		"forbid":                      {spec: every5 + "concurrencyPolicy: Forbid", jobs: []Job{running}, at: 5 * time.Minute, create: -1, event: "JobAlreadyActive"},
		"replace":                     {spec: every5 + "concurrencyPolicy: Replace", jobs: []Job{running}, at: 5 * time.Minute, create: 5 * time.Minute, del: "old"},
		"forbid, the other has ended": {spec: every5 + "concurrencyPolicy: Forbid", jobs: []Job{{Name: "old", Finished: true, At: after(6 * time.Minute)}}, at: 7 * time.Minute, create: 5 * time.Minute},
		"history": {spec: every5 + "successfulJobsHistoryLimit: 1\nfailedJobsHistoryLimit: 0", create: -1, del: "a,c", jobs: []Job{
			{Name: "a", Finished: true, Created: after(-3 * time.Hour)}, {Name: "b", Finished: true, Created: after(-time.Hour)},
			{Name: "c", Finished: true, Failed: true, Created: after(-2 * time.Hour)},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var was manifests.CronJobStatus
			if tc.last != 0 {
				was.LastScheduleTime = new(metav1.NewTime(after(tc.last)))
			}
			p, err := PlanCronJob("c", cronSpec(t, tc.spec), was, noon, tc.jobs, after(tc.at))
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case tc.create < 0 && !p.Create.IsZero():
				t.Errorf("makes a job of %s", p.Create)
			case tc.create >= 0 && !p.Create.Equal(after(tc.create)):
				t.Errorf("makes a job of %s, want %s", p.Create, after(tc.create))
			case tc.create >= 0 && !p.Status.LastScheduleTime.Time.Equal(p.Create):
				t.Errorf("scheduled last %s", p.Status.LastScheduleTime)
			}
			if got := strings.Join(p.Delete, ","); got != tc.del {
				t.Errorf("removes %q, want %q", got, tc.del)
			}
			got := ""
			for _, e := range p.Events {
				got += e.Reason
			}
			if got != tc.event {
				t.Errorf("events %q, want %q", got, tc.event)
			}
			if tc.again != 0 && !p.Again.Equal(after(tc.again)) {
				t.Errorf("again %s, want %s", p.Again, after(tc.again))
			}
		})
	}
}

func TestCronJobGoesByDaylightSaving(t *testing.T) {
	spec := cronSpec(t, "schedule: '30 8 * * *'")
	spec.TimeZone = new("Europe/Berlin")
	for day, want := range map[time.Time]time.Time{
		time.Date(2026, 3, 28, 8, 0, 0, 0, time.UTC): time.Date(2026, 3, 29, 6, 30, 0, 0, time.UTC),
		time.Date(2026, 3, 27, 8, 0, 0, 0, time.UTC): time.Date(2026, 3, 28, 7, 30, 0, 0, time.UTC),
	} {
		p, err := PlanCronJob("c", spec, manifests.CronJobStatus{}, day, nil, want)
		if err != nil || !p.Create.Equal(want) {
			t.Errorf("after %s: %s, %v; want %s", day, p.Create, err, want)
		}
	}
}
