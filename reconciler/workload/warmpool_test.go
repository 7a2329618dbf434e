package workload

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// poolMembers reads "NAME REVISION STATE [AGE]", of which STATE is up, down,
// ended or going, and AGE how long ago it was made and, if up, ready.
func poolMembers(t *testing.T, text string) []Sandbox {
	t.Helper()
	var all []Sandbox
	for item := range strings.SplitSeq(text, ",") {
		words := strings.Fields(item)
		if len(words) == 0 {
			continue
		}
		age := time.Minute
		if len(words) > 3 {
			var err error
			if age, err = time.ParseDuration(words[3]); err != nil {
				t.Fatal(err)
			}
		}
		s := Sandbox{Name: words[0], Revision: words[1], Created: noon.Add(-age), Index: NoIndex}
		switch words[2] {
		case "up":
			s.Ready, s.Since = true, noon.Add(-age)
		case "ended":
			s.Finished, s.At = true, noon
		case "going":
			s.Deleting = true
		case "stuck":
			s.Stalled = "no such image"
		}
		all = append(all, s)
	}
	return all
}

func TestPlanWarmPool(t *testing.T) {
	for name, tc := range map[string]struct {
		replicas int32
		strategy manifests.WarmPoolUpdateStrategy
		template string
		there    string
		create   int
		del      string
		state    string
	}{
		"empty":                           {3, "", "A", "", 3, "", "Reconciling=SandboxesNotReady notReady=SandboxesNotReady"},
		"full":                            {2, "", "A", "a A up, b A up", 0, "", "Ready=SandboxesReady"},
		"on its way":                      {2, "", "A", "a A up, b A down", 0, "", "Reconciling=SandboxesNotReady notReady=SandboxesNotReady"},
		"one is being removed":            {2, "", "A", "a A up, b A going", 0, "", "Reconciling=SandboxesNotReady notReady=SandboxesNotReady"},
		"one too few":                     {2, "", "A", "a A up", 1, "", "Reconciling=SandboxesNotReady notReady=SandboxesNotReady"},
		"too many: those not ready":       {1, "", "A", "a A up 3m, b A down 5m, c A up 1m", 0, "b,c", "Ready=SandboxesReady"},
		"too many: the newest":            {1, "", "A", "a A up 3m, b A up 1m", 0, "b", "Ready=SandboxesReady"},
		"none wanted":                     {0, "", "A", "a A up", 0, "a", "Ready=SandboxesReady"},
		"no template: those there stay":   {2, "Recreate", "", "a A up", 0, "", "Stalled=TemplateNotFound notReady=TemplateNotFound"},
		"stale stays until it is claimed": {2, "OnReplenish", "B", "a A up, b A up", 0, "", "Ready=SandboxesReady"},
		"stale and refilled":              {2, "OnReplenish", "B", "a A up", 1, "", "Reconciling=SandboxesNotReady notReady=SandboxesNotReady"},
		"stale goes":                      {2, "Recreate", "B", "a A up, b B up", 0, "a", "Reconciling=SandboxesNotReady notReady=SandboxesNotReady"},
		"ended a moment ago":              {1, "", "A", "a A ended 1m", 0, "", "Reconciling=SandboxesNotReady notReady=SandboxesNotReady"},
		"ended long ago":                  {1, "", "A", "a A ended 6m", 0, "a", "Reconciling=SandboxesNotReady notReady=SandboxesNotReady"},
		"one is stuck":                    {2, "", "A", "a A up, b A stuck", 0, "", "Stalled=SandboxStalled notReady=SandboxStalled"},
	} {
		t.Run(name, func(t *testing.T) {
			strategy := manifests.WarmPoolOnReplenish
			if tc.strategy != "" {
				strategy = tc.strategy
			}
			spec := &manifests.SandboxWarmPoolSpec{
				Replicas: &tc.replicas, TemplateRef: manifests.SandboxTemplateRef{Name: "py"},
				UpdateStrategy: &manifests.SandboxWarmPoolUpdateStrategy{Type: strategy},
			}
			was := manifests.SandboxWarmPoolStatus{Conditions: []metav1.Condition{{Type: manifests.ConditionStalled, Status: metav1.ConditionTrue}}}
			p := PlanWarmPool("warm", spec, was, tc.template, poolMembers(t, tc.there), noon)
			if p.Create != tc.create || strings.Join(p.Delete, ",") != tc.del {
				t.Errorf("makes %d, removes %q; want %d, %q", p.Create, p.Delete, tc.create, tc.del)
			}
			if got := conditions(p.Status.Conditions); got != tc.state {
				t.Errorf("conditions %q, want %q", got, tc.state)
			}
			if name == "ended a moment ago" && !p.Again.Equal(noon.Add(4*time.Minute)) {
				t.Errorf("looks again at %s", p.Again)
			}
		})
	}
}
