package source

import "time"

// debounce says when to look, given when something happened: after a quiet
// moment, but not put off without end by events that never cease.
type debounce struct {
	quiet time.Duration // how long nothing must happen
	most  time.Duration // how long the first event waits at most

	first, last time.Time // zero: nothing happened
}

// touch notes that something happened.
func (d *debounce) touch(now time.Time) {
	if d.first.IsZero() {
		d.first = now
	}
	d.last = now
}

// due returns when to look; zero if there is no need.
func (d *debounce) due() time.Time {
	if d.first.IsZero() {
		return time.Time{}
	}
	return earliest(d.last.Add(d.quiet), d.first.Add(d.most))
}

// reset notes that a look begins, which sees all that happened before.
func (d *debounce) reset() {
	d.first, d.last = time.Time{}, time.Time{}
}

// earliest returns the first of the times that are not zero.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}
