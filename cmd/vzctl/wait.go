package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sjson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/util/jsonpath"

	"github.com/vzreconciler/vzreconciler/internal/printer"
)

func (a *app) waitCmd() *cobra.Command {
	var (
		sel     selection
		goal    string
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "wait NAME… | KIND NAME… | KIND/NAME… --for=condition=TYPE[=STATUS]",
		Short: "Wait until objects are as wanted",
		Long: `Wait until objects are as wanted, and end with exit code 5 when the time is up.
An object that is not there yet is waited for. --for is one of

  condition=TYPE[=STATUS]     a condition, of status True if none is given
  jsonpath=TEMPLATE[=VALUE]   a field, of any value if none is given
  create, delete              to be there, to be gone`,
		Example: `  vzctl wait --for=condition=Ready sandbox/web --timeout=60s
  vzctl wait --for=condition=Ready sandbox --all
  vzctl wait --for=condition=Ready sandbox -l app=web --timeout=2m
  vzctl wait --for=jsonpath='{.status.phase}'=Running web
  vzctl wait --for=delete sandbox web`,
		ValidArgsFunction: a.completeObjects,
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := parseGoal(goal)
			if err != nil {
				return err
			}
			reqs, err := sel.requests(args, true)
			if err != nil {
				return err
			}
			if len(reqs[0].GetNames()) == 0 && !sel.selects() {
				return usagef("say which objects to wait for: by name, with --selector or with --all")
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), waitTime(timeout))
			defer cancel()
			w.client = client
			w.once = timeout == 0
			w.done = func(ref string) error {
				if w.deletion {
					return a.printf("%s deleted\n", ref)
				}
				return a.printf("%s condition met\n", ref)
			}
			for _, req := range reqs {
				if err := w.run(ctx, req); err != nil {
					return err
				}
			}
			return nil
		},
	}
	sel.addFlags(cmd)
	cmd.Flags().BoolVar(&sel.all, "all", false, "all objects of the kind")
	cmd.Flags().StringVar(&goal, "for", "condition=Ready", "what to wait for")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait; 0 looks once, less than 0 waits for a week")
	return cmd
}

// waitTime returns how long a --timeout lets vzctl wait. Looking once takes time
// too.
func waitTime(timeout time.Duration) time.Duration {
	switch {
	case timeout < 0:
		return 7 * 24 * time.Hour
	case timeout == 0:
		return 10 * time.Second
	}
	return timeout
}

// parseGoal reads the value of --for.
func parseGoal(goal string) (*waiter, error) {
	kind, rest, _ := strings.Cut(goal, "=")
	switch kind {
	case "delete":
		return &waiter{what: "their removal", deletion: true}, nil
	case "create":
		return &waiter{what: "them to be there", met: func(*object) bool { return true }}, nil
	case "condition":
		name, status, ok := strings.Cut(rest, "=")
		if name == "" {
			break
		}
		if !ok {
			status = string(metav1.ConditionTrue)
		}
		return &waiter{what: name + "=" + status, met: func(o *object) bool {
			c := o.condition(name)
			return c != nil && strings.EqualFold(string(c.Status), status) && current(o, c)
		}}, nil
	case "jsonpath":
		template, value, ok := cutTemplate(rest)
		path, err := printer.ParseJSONPath(template)
		if err != nil || template == "" {
			return nil, usagef("--for=%s: %w", goal, err)
		}
		what := template
		if ok {
			what += "=" + value
		}
		return &waiter{what: what, met: func(o *object) bool {
			got, found := evaluate(path, o)
			return found && (!ok || got == value)
		}}, nil
	}
	return nil, usagef("--for=%s: want condition=TYPE[=STATUS], jsonpath=TEMPLATE[=VALUE], create or delete", goal)
}

// current reports whether a condition is about the object as it is now: one of
// an earlier generation says nothing.
func current(o *object, c *metav1.Condition) bool {
	return c.ObservedGeneration == 0 || c.ObservedGeneration >= o.Generation
}

// cutTemplate parts "{.a.b}=value", or ".a.b=value".
func cutTemplate(text string) (template, value string, ok bool) {
	if strings.HasPrefix(text, "{") {
		template, value, ok = strings.Cut(text, "}=")
		if ok {
			template += "}"
		}
		return template, value, ok
	}
	return strings.Cut(text, "=")
}

func evaluate(path *jsonpath.JSONPath, o *object) (text string, found bool) {
	var data any
	if err := k8sjson.Unmarshal(o.raw, &data); err != nil {
		return "", false
	}
	results, err := path.FindResults(data)
	if err != nil {
		return "", false
	}
	var out bytes.Buffer
	for _, r := range results {
		found = found || len(r) > 0
		if err := path.PrintResults(&out, r); err != nil {
			return "", false
		}
	}
	return fmt.Sprint(out.String()), found
}
