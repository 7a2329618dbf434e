package reconciler

import "time"

const (
	// firstDelay and maxDelay bound the wait before a container or VM that ended
	// is started again, and before a step that failed is tried again.
	firstDelay = time.Second
	maxDelay   = 5 * time.Minute
	// steadyAfter is how long something must have run for its end to count as the
	// first one again.
	steadyAfter = 10 * time.Minute
	// hostDelay is the longest wait before looking again for what the user is
	// asked to install.
	hostDelay = 5 * time.Second
)

// backoff is the wait before the next attempt: 1 s, doubled by each failure, up
// to 5 minutes. The zero value is ready.
type backoff struct {
	delay time.Duration
	until time.Time
}

// fail notes a failure and returns how long to wait.
func (b *backoff) fail(now time.Time) time.Duration {
	b.delay = min(max(2*b.delay, firstDelay), maxDelay)
	b.until = now.Add(b.delay)
	return b.delay
}

// failAtMost is fail with a lower bound to the longest wait.
func (b *backoff) failAtMost(now time.Time, limit time.Duration) time.Duration {
	b.delay = min(max(2*b.delay, firstDelay), limit)
	b.until = now.Add(b.delay)
	return b.delay
}

// ended notes the end of something that ran for a while: the wait begins anew
// if that was long enough.
func (b *backoff) ended(now time.Time, ran time.Duration) time.Duration {
	if ran >= steadyAfter {
		b.reset()
	}
	return b.fail(now)
}

func (b *backoff) reset() { *b = backoff{} }
