package probe

import (
	"context"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Loop asks one container again and again.
type Loop struct {
	Probe *corev1.Probe
	// Since is when the container was started, from where the initial delay counts.
	Since time.Time
	// Spread is the longest delay by which the first question is put off at random,
	// so that not all ask at once.
	Spread time.Duration
	// Ask is Do.
	Ask func(context.Context) Result
	// Take gets each answer. decided says that, with those before it, it reaches the
	// probe's threshold. It returns whether to go on.
	Take func(r Result, decided bool) bool
}

// Run asks until ctx ends or Take says that it is enough. An answer that comes
// after the end of ctx is dropped.
func (l *Loop) Run(ctx context.Context) {
	delay := time.Duration(l.Probe.InitialDelaySeconds) * time.Second
	first := max(time.Until(l.Since.Add(delay)), 0)
	if l.Spread > 0 {
		first += rand.N(l.Spread) //nolint:gosec // no secret
	}
	next := time.NewTimer(first)
	defer next.Stop()
	period := time.Duration(l.Probe.PeriodSeconds) * time.Second
	var count streak
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		next.Reset(period)
		r := l.Ask(ctx)
		if ctx.Err() != nil || !l.Take(r, count.add(l.Probe, r.Outcome)) {
			return
		}
	}
}

// streak is how often the same answer has come, one after the other.
type streak struct {
	outcome Outcome
	times   int32
}

// add counts an answer and reports whether it now decides.
func (s *streak) add(p *corev1.Probe, o Outcome) bool {
	if o == Unknown {
		return false
	}
	if s.outcome != o {
		*s = streak{outcome: o}
	}
	s.times++
	threshold := p.SuccessThreshold
	if o == Failure {
		threshold = p.FailureThreshold
	}
	return s.times >= threshold
}
