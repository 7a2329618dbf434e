package probe

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestLoopCountsToItsThresholds(t *testing.T) {
	for _, tc := range []struct {
		name, answers, decided string // of each answer: s, f or u; and whether it decided
	}{
		{"two successes, three failures", "fffssfsfffs", "..!.!....!."},
		{"unknown counts neither way", "fufuf", "....!"},
		{"failures go on to decide", "ffff", "..!!"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &corev1.Probe{SuccessThreshold: 2, FailureThreshold: 3}
			var s streak
			got := ""
			for _, a := range tc.answers {
				if s.add(p, map[rune]Outcome{'s': Success, 'f': Failure, 'u': Unknown}[a]) {
					got += "!"
				} else {
					got += "."
				}
			}
			if got != tc.decided {
				t.Errorf("got %s, want %s", got, tc.decided)
			}
		})
	}
}

func TestLoopKeepsItsTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var at []time.Duration
		l := Loop{
			Probe: &corev1.Probe{InitialDelaySeconds: 30, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 1},
			Since: begun.Add(-5 * time.Second),
			Ask: func(context.Context) Result {
				at = append(at, time.Since(begun))
				time.Sleep(time.Second) //nolint:forbidigo // of the bubble: the question takes that long
				return Result{Outcome: Success}
			},
			Take: func(Result, bool) bool { return len(at) < 3 },
		}
		l.Run(t.Context())
		for i, want := range []time.Duration{25, 35, 45} {
			if at[i] != want*time.Second {
				t.Errorf("asked at %v", at)
			}
		}
	})
}

func TestLoopBeginsAtRandomWithinItsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for range 20 {
			begun := time.Now()
			l := Loop{
				Probe: &corev1.Probe{PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 1}, Since: begun, Spread: 10 * time.Second,
				Ask:  func(context.Context) Result { return Result{Outcome: Success} },
				Take: func(Result, bool) bool { return false },
			}
			l.Run(t.Context())
			took := time.Since(begun)
			if took >= 10*time.Second {
				t.Errorf("it began after %s", took)
			}
			seen[took] = true
		}
		if len(seen) < 2 {
			t.Error("all began at once")
		}
	})
}

func TestLoopDropsAnswersThatComeTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := Loop{
			Probe: &corev1.Probe{PeriodSeconds: 1, SuccessThreshold: 1, FailureThreshold: 1}, Since: time.Now(),
			Ask: func(context.Context) Result {
				cancel()
				return Result{Outcome: Failure}
			},
			Take: func(Result, bool) bool {
				t.Error("it was taken")
				return true
			},
		}
		l.Run(ctx)
	})
}
