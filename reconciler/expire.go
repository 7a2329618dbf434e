package reconciler

import "time"

// clockWait is the longest wait before looking at the clock again for a time of
// day: the clock may have been set, or the host have slept.
const clockWait = time.Minute

// expired reports whether the sandbox's shutdownTime has come. o.mu is held.
func (o *object) expired(now time.Time) bool {
	t := o.spec().ShutdownTime
	return t != nil && !now.Before(t.Time)
}

// expiry is when to look at a shutdownTime that has not come yet; zero if there is
// none. o.mu is held.
func (o *object) expiry(now time.Time) time.Time {
	t := o.spec().ShutdownTime
	if t == nil || o.expired(now) {
		return time.Time{}
	}
	if t.Sub(now) > clockWait {
		return now.Add(clockWait)
	}
	return t.Time
}
