package workload

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
)

func setSpec(t *testing.T, spec string) *appsv1.StatefulSetSpec {
	t.Helper()
	objects, errs := manifests.Parse("s.yaml", []byte("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: w}\nspec:\n  selector: {matchLabels: {a: b}}\n  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}\n  "+
		strings.ReplaceAll(spec, "\n", "\n  ")+"\n"))
	if len(errs) > 0 {
		t.Fatal(errs[0])
	}
	return &objects[0].StatefulSet.Spec
}

// replicas reads "ORDINAL REVISION STATE" separated by commas; STATE is up, down
// or gone.
func replicas(t *testing.T, text string) []Sandbox {
	t.Helper()
	var list []Sandbox
	for part := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		var (
			s     Sandbox
			state string
		)
		if _, err := fmt.Sscan(part, &s.Index, &s.Revision, &state); err != nil {
			t.Fatal(err)
		}
		s.Name = fmt.Sprintf("w-%d", s.Index)
		switch state {
		case "up":
			s.Ready, s.Since = true, noon
		case "gone":
			s.Deleting = true
		}
		list = append(list, s)
	}
	return list
}

func TestPlanStatefulSet(t *testing.T) {
	const ondelete = "replicas: 3\nupdateStrategy: {type: OnDelete}"
	rolling := func(s string) string { return "replicas: 3\nupdateStrategy: {rollingUpdate: {" + s + "}}" }
	for name, tc := range map[string]struct {
		spec   string
		update string // the template's revision; default A
		there  string
		at     time.Duration
		want   string // ordinals with their revisions
		del    string
		state  string // of the conditions
	}{
		"one after the other":            {spec: "replicas: 3", want: "0A+"},
		"the next when the last is up":   {spec: "replicas: 3", there: "0 A up", want: "0A 1A+"},
		"not before":                     {spec: "replicas: 3", there: "0 A down", want: "0A"},
		"not before it is long enough":   {spec: "replicas: 3\nminReadySeconds: 10", there: "0 A up", at: 9 * time.Second, want: "0A"},
		"ready for long enough":          {spec: "replicas: 3\nminReadySeconds: 10", there: "0 A up", at: 10 * time.Second, want: "0A 1A+"},
		"parallel":                       {spec: "replicas: 3\npodManagementPolicy: Parallel", want: "0A+ 1A+ 2A+"},
		"ordinals":                       {spec: "replicas: 2\nordinals: {start: 5}", there: "5 A up", want: "5A 6A+"},
		"what is removed is made again":  {spec: "replicas: 2", there: "0 A up, 1 A gone", want: "0A"},
		"a gap is filled first":          {spec: "replicas: 3", there: "0 A up, 2 A up", want: "0A 1A+ 2A"},
		"scale down from the last":       {spec: "replicas: 1", there: "0 A up, 1 A up, 2 A up", want: "0A", del: "w-2"},
		"one after the other, downwards": {spec: "replicas: 1", there: "0 A up, 1 A up, 2 A gone", want: "0A"},
		"not while one is down":          {spec: "replicas: 1", there: "0 A down, 1 A up", want: "0A"},
		"parallel, downwards":            {spec: "replicas: 0\npodManagementPolicy: Parallel", there: "0 A down, 1 A up", del: "w-1,w-0"},
		"none":                           {spec: "replicas: 0", state: "Ready=ReplicasAvailable"},

		"roll-out begins at the last":        {spec: "replicas: 3", update: "B", there: "0 A up, 1 A up, 2 A up", want: "0A 1A 2B", state: "notReady=ReplicasUnavailable Reconciling=RollingUpdate"},
		"waits for it":                       {spec: "replicas: 3", update: "B", there: "0 A up, 1 A up, 2 B down", want: "0A 1A 2B"},
		"goes on":                            {spec: "replicas: 3", update: "B", there: "0 A up, 1 A up, 2 B up", want: "0A 1B 2B"},
		"ends":                               {spec: "replicas: 3", update: "B", there: "0 B up, 1 B up, 2 B up", want: "0B 1B 2B", state: "Ready=ReplicasAvailable"},
		"partition":                          {spec: rolling("partition: 2"), update: "B", there: "0 A up, 1 A up, 2 B up", want: "0A 1A 2B", state: "Ready=ReplicasAvailable"},
		"new ones below the partition":       {spec: rolling("partition: 1"), update: "B", there: "1 B up, 2 B up", want: "0A+ 1B 2B"},
		"maxUnavailable":                     {spec: rolling("maxUnavailable: 2"), update: "B", there: "0 A up, 1 A up, 2 A up", want: "0A 1B 2B"},
		"maxUnavailable, percent":            {spec: rolling("maxUnavailable: 70%"), update: "B", there: "0 A up, 1 A up, 2 A up", want: "0A 1B 2B"},
		"others that are down count":         {spec: "replicas: 3", update: "B", there: "0 A down, 1 A up, 2 A up", want: "0A 1A 2A"},
		"a bad revision does not spread":     {spec: "replicas: 3", update: "B", there: "0 A up, 1 A down, 2 B down", want: "0A 1A 2B"},
		"nor when two may be down":           {spec: rolling("maxUnavailable: 2"), update: "B", there: "0 A down, 1 B down, 2 B down", want: "0A 1B 2B"},
		"a bad revision is taken back":       {spec: "replicas: 3", update: "A", there: "0 A up, 1 A up, 2 B down", want: "0A 1A 2A"},
		"a bad revision is replaced":         {spec: "replicas: 3", update: "C", there: "0 A up, 1 A up, 2 B down", want: "0A 1A 2C"},
		"what never came up is replaced too": {spec: "replicas: 3", update: "B", there: "0 A down", want: "0B"},
		"on delete: nothing by itself":       {spec: ondelete, update: "B", there: "0 A up, 1 A up, 2 A up", want: "0A 1A 2A", state: "Ready=ReplicasAvailable"},
		"on delete: what is made anew":       {spec: ondelete, update: "B", there: "0 A up, 2 A up", want: "0A 1B+ 2A"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.update == "" {
				tc.update = "A"
			}
			p := PlanStatefulSet("w", setSpec(t, tc.spec), manifests.StatefulSetStatus{CurrentRevision: "A"}, tc.update, replicas(t, tc.there), after(tc.at))
			var words []string
			for _, r := range p.Want {
				word := fmt.Sprintf("%d%s", r.Ordinal, r.Revision)
				if r.Create {
					word += "+"
				}
				words = append(words, word)
			}
			if got := strings.Join(words, " "); got != tc.want {
				t.Errorf("wants %q, want %q", got, tc.want)
			}
			if got := strings.Join(p.Delete, ","); got != tc.del {
				t.Errorf("removes %q, want %q", got, tc.del)
			}
			if got := conditions(p.Status.Conditions); tc.state != "" && got != tc.state {
				t.Errorf("conditions %q, want %q", got, tc.state)
			}
		})
	}
}

func TestRollOutIsOverWhenAllAreReady(t *testing.T) {
	spec := setSpec(t, "replicas: 2")
	p := PlanStatefulSet("w", spec, manifests.StatefulSetStatus{CurrentRevision: "A"}, "B", replicas(t, "0 B up, 1 B down"), noon)
	if st := p.Status; st.CurrentRevision != "A" || st.UpdateRevision != "B" || st.UpdatedReplicas != 2 || st.ReadyReplicas != 1 || st.CurrentReplicas != 0 {
		t.Errorf("before: %+v", st)
	}
	p = PlanStatefulSet("w", spec, p.Status, "B", replicas(t, "0 B up, 1 B up"), noon)
	if st := p.Status; st.CurrentRevision != "B" || st.CurrentReplicas != 2 || st.AvailableReplicas != 2 {
		t.Errorf("after: %+v", st)
	}
}

func TestRevisions(t *testing.T) {
	template := func(image string) *appsv1.StatefulSetSpec {
		s := setSpec(t, "replicas: 1")
		s.Template.Spec.Containers[0].Image = image
		return s
	}
	list, a := Revise("w", nil, &template("a").Template, nil, noon)
	list, b := Revise("w", list, &template("b").Template, nil, noon)
	if again, name := Revise("w", list, &template("b").Template, nil, noon); name != b || len(again) != 2 || again[1].Revision != 2 {
		t.Errorf("the same template is a new revision: %v", again)
	}
	list, back := Revise("w", list, &template("a").Template, nil, noon)
	if back != a || len(list) != 2 || list[1].Name != a || list[1].Revision != 3 {
		t.Errorf("going back: %s, %v; want %s as revision 3", back, list, a)
	}
	list, _ = Revise("w", list, &template("c").Template, nil, noon)
	if kept := Forget(list, 1, func(name string) bool { return name == list[2].Name }); len(kept) != 2 || kept[0].Name != a {
		t.Errorf("kept %v", kept)
	}
}
