package source

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// said is a source that gives out what it is told to.
type said struct {
	name  string
	news  chan Snapshot
	force int
	err   error
}

func (s *said) Run(ctx context.Context, out func(Snapshot)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case n, ok := <-s.news:
			if !ok {
				return s.err
			}
			out(n)
		}
	}
}

func (s *said) Resync()          { s.force++ }
func (s *said) Status() []Status { return []Status{{Name: s.name}} }

func TestSourcesAreOneOnceEachHasSaidSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &said{name: "a", news: make(chan Snapshot)}, &said{name: "b", news: make(chan Snapshot)}
		c := Combine(a, b)
		var got []string
		var last Snapshot
		done := make(chan error)
		go func() {
			done <- c.Run(t.Context(), func(s Snapshot) { got, last = append(got, names(s)), s })
		}()
		one := func(name string, complete, settling bool) Snapshot {
			return Snapshot{
				Objects:  []*manifests.Object{{Key: manifests.Key{Name: name}}},
				Complete: complete, Settling: settling, Time: time.Now(), Sources: []Status{{Name: name}},
			}
		}
		say := func(s *said, snap Snapshot) {
			s.news <- snap
			synctest.Wait()
		}
		say(a, one("a1", true, false))
		say(a, one("a2", true, false))
		say(b, one("b1", true, false))
		say(a, one("a3", false, true))
		if !last.Settling {
			t.Error("not settling although all that is missing settles")
		}
		say(b, one("b2", false, false))
		if last.Settling {
			t.Error("settling although one is blind")
		}
		say(a, one("a4", true, false))
		if want := "a2 b1,a3 b1 ?,a3 b2 ?,a4 b2 ?"; strings.Join(got, ",") != want {
			t.Errorf("got %q, want %q", strings.Join(got, ","), want)
		}
		if len(last.Sources) != 2 || len(c.Status()) != 2 {
			t.Errorf("sources %v", last.Sources)
		}
		c.Resync()
		if a.force != 1 || b.force != 1 {
			t.Error("not both were told to look")
		}
		// The end of one is the end of all.
		a.err = errors.New("broken")
		close(a.news)
		if err := <-done; !errors.Is(err, a.err) {
			t.Errorf("ended with %v", err)
		}
	})
}
