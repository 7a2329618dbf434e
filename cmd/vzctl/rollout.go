package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) rolloutCmd() *cobra.Command {
	return group("rollout", "Follow a set's roll-out, and take it back", "  vzctl rollout status statefulset/web\n  vzctl rollout undo statefulset/web",
		a.rolloutStatusCmd(), a.rolloutHistoryCmd(), a.rolloutUndoCmd())
}

func (a *app) rolloutStatusCmd() *cobra.Command {
	var (
		sel     selection
		watch   bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "status statefulset/NAME",
		Short: "Wait until a roll-out is over",
		Long: `Wait until all sandboxes of a set are of its newest revision and available. It ends
with exit code 1 when one of them cannot get further without help.`,
		Example: `  vzctl rollout status statefulset/web --timeout=5m
  vzctl rollout status sts/web --watch=false`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeObjects,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSet(cmd.Context(), args[0], sel.namespace, func(client *api.Client, o *object) error {
				if !watch {
					text, _ := rolloutState(o)
					return a.printf("%s\n", text)
				}
				ctx, cancel := context.WithTimeout(cmd.Context(), waitTime(timeout))
				defer cancel()
				return a.followRollout(ctx, client, o)
			})
		},
	}
	sel.addNamespace(cmd)
	cmd.Flags().BoolVarP(&watch, "watch", "w", true, "wait until it is over")
	cmd.Flags().DurationVar(&timeout, "timeout", -1, "how long to wait (default for a week)")
	cmd.Flags().Lookup("timeout").DefValue = "0s" // which is not shown
	return cmd
}

// rolloutState says for people how far a roll-out is, and whether it is over.
func rolloutState(o *object) (text string, over bool) {
	s := decodeAs[statefulSet](o)
	st, n := &s.Status, valueOr(s.Spec.Replicas, 1)
	partition := int32(0)
	if u := s.Spec.UpdateStrategy.RollingUpdate; u != nil {
		partition = valueOr(u.Partition, 0)
	}
	switch {
	case s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType:
		return "there is no roll-out to wait for: the update strategy is OnDelete", true
	case st.ObservedGeneration < o.Generation:
		return "Waiting for the daemon to look at the set...", false
	case st.AvailableReplicas < n:
		return fmt.Sprintf("Waiting for %d sandboxes to be available...", n-st.AvailableReplicas), false
	case partition > 0 && st.UpdatedReplicas < n-partition:
		return fmt.Sprintf("Waiting for partitioned roll out to finish: %d out of %d new sandboxes have been updated...", st.UpdatedReplicas, n-partition), false
	case partition > 0:
		return fmt.Sprintf("partitioned roll out complete: %d new sandboxes have been updated...", st.UpdatedReplicas), true
	case st.UpdateRevision != st.CurrentRevision:
		return fmt.Sprintf("waiting for statefulset rolling update to complete %d sandboxes at revision %s...", st.UpdatedReplicas, st.UpdateRevision), false
	}
	return fmt.Sprintf("statefulset rolling update complete %d sandboxes at revision %s...", st.UpdatedReplicas, st.UpdateRevision), true
}

func (a *app) followRollout(ctx context.Context, client *api.Client, o *object) error {
	said := ""
	var failed error
	w := waiter{client: client, what: "the roll-out"}
	w.met = func(o *object) bool {
		text, over := rolloutState(o)
		if text != said {
			said = text
			failed = a.printf("%s\n", text)
		}
		return over || failed != nil
	}
	w.vain = func(o *object) bool { return o.conditionIs(manifests.ConditionStalled, metav1.ConditionTrue) }
	if err := w.run(ctx, &api.GetRequest{Kind: "statefulset", Namespace: o.Namespace, Names: []string{o.Name}}); err != nil {
		return err
	}
	return failed
}

// revision is a ControllerRevision.
type revision struct {
	metav1.ObjectMeta `json:"metadata"`
	Revision          int64 `json:"revision"`
	Data              struct {
		Spec struct {
			Template json.RawMessage `json:"template"`
		} `json:"spec"`
	} `json:"data"`
}

// revisions returns those of a set, the oldest first.
func revisions(ctx context.Context, client *api.Client, o *object) ([]revision, error) {
	resp, err := client.Get(ctx, &api.GetRequest{Kind: "controllerrevision", Namespace: o.Namespace})
	if err != nil {
		return nil, err
	}
	var list []revision
	for _, data := range resp.GetObjects() {
		var r revision
		if err := json.Unmarshal(data, &r); err != nil {
			return nil, fmt.Errorf("read the daemon's answer: %w", err)
		}
		if ref := metav1.GetControllerOf(&r.ObjectMeta); ref != nil && ref.Kind == o.Kind && ref.Name == o.Name {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b revision) int { return cmp.Compare(a.Revision, b.Revision) })
	return list, nil
}

func (a *app) rolloutHistoryCmd() *cobra.Command {
	var (
		sel    selection
		number int64
	)
	cmd := &cobra.Command{
		Use:   "history statefulset/NAME",
		Short: "Show the templates that a set has had",
		Example: `  vzctl rollout history statefulset/web
  vzctl rollout history sts/web --revision=2`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeObjects,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSet(cmd.Context(), args[0], sel.namespace, func(client *api.Client, o *object) error {
				list, err := revisions(cmd.Context(), client, o)
				if err != nil {
					return err
				}
				if number != 0 {
					r, err := findRevision(o, list, number)
					if err != nil {
						return err
					}
					format, err := (&output{value: "yaml"}).format()
					if err != nil {
						return err
					}
					return format.Object(a.stdout, r.Data.Spec.Template)
				}
				table := [][]printer.Cell{printer.Header("REVISION", "NAME", "AGE", "IMAGES")}
				for _, r := range list {
					var template struct {
						Spec struct {
							Containers []struct {
								Image string `json:"image"`
							} `json:"containers"`
						} `json:"spec"`
					}
					if err := json.Unmarshal(r.Data.Spec.Template, &template); err != nil {
						return fmt.Errorf("read the daemon's answer: %w", err)
					}
					var images []string
					for _, c := range template.Spec.Containers {
						images = append(images, c.Image)
					}
					table = append(table, []printer.Cell{
						{Text: strconv.FormatInt(r.Revision, 10)}, {Text: r.Name}, {Text: age(time.Now(), r.CreationTimestamp.Time)}, {Text: strings.Join(images, ",")},
					})
				}
				return a.table().Write(table...)
			})
		},
	}
	sel.addNamespace(cmd)
	cmd.Flags().Int64Var(&number, "revision", 0, "show this one's template")
	return cmd
}

func (a *app) rolloutUndoCmd() *cobra.Command {
	var (
		sel    selection
		number int64
		write  bool
	)
	cmd := &cobra.Command{
		Use:   "undo statefulset/NAME",
		Short: "Print the change that takes a roll-out back, or make it",
		Long: `Print the change to a set's manifest that gives it the template of an earlier
revision, as a patch to commit. --write makes the change in the daemon's folder
instead. The set is rolled out again, one sandbox after the other.`,
		Example: `  vzctl rollout undo statefulset/web
  vzctl rollout undo sts/web --to-revision=2 --write`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeObjects,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSet(cmd.Context(), args[0], sel.namespace, func(client *api.Client, o *object) error {
				list, err := revisions(cmd.Context(), client, o)
				if err != nil {
					return err
				}
				if number == 0 {
					if len(list) < 2 {
						return fmt.Errorf("%s has no earlier revision", o.ref())
					}
					number = list[len(list)-2].Revision
				}
				r, err := findRevision(o, list, number)
				if err != nil {
					return err
				}
				return a.changeManifest(cmd.Context(), client, o, []string{"spec", "template"}, r.Data.Spec.Template, write)
			})
		},
	}
	sel.addNamespace(cmd)
	cmd.Flags().Int64Var(&number, "to-revision", 0, "the revision to go back to (default the one before the newest)")
	addWrite(cmd, &write)
	return cmd
}

func findRevision(o *object, list []revision, number int64) (*revision, error) {
	for i := range list {
		if list[i].Revision == number {
			return &list[i], nil
		}
	}
	return nil, fmt.Errorf("%s has no revision %d: see 'vzctl rollout history %s'", o.ref(), number, o.ref())
}
