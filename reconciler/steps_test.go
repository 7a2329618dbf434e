package reconciler

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// stepLog is a log handler that keeps which steps were begun, by object.
type stepLog struct {
	slog.Handler // of everything, for people

	mu    *sync.Mutex
	begun map[string][]string
}

func newStepLog(next slog.Handler) stepLog {
	return stepLog{Handler: next, mu: &sync.Mutex{}, begun: map[string][]string{}}
}

func (l stepLog) Enabled(context.Context, slog.Level) bool { return true }

func (l stepLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == beginMessage {
		var object, action string
		r.Attrs(func(a slog.Attr) bool {
			switch a.Key {
			case "object":
				object = a.Value.String()
			case "action":
				action = a.Value.String()
			}
			return true
		})
		l.mu.Lock()
		l.begun[object] = append(l.begun[object], action)
		l.mu.Unlock()
	}
	if !l.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

// of returns the steps that were begun for a sandbox since the world began.
func (l stepLog) of(name string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.begun[manifests.Key{Kind: manifests.KindSandbox, Namespace: "default", Name: name}.String()])
}

// count returns how many steps were begun, but for those left out.
func (l stepLog) count(but ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, actions := range l.begun {
		for _, a := range actions {
			if !slices.Contains(but, a) {
				n++
			}
		}
	}
	return n
}
