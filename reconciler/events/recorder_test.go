package events

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

func key(name string) manifests.Key {
	return manifests.Key{Kind: manifests.KindSandbox, Namespace: "default", Name: name}
}

func open(t *testing.T, dir string, opts Options) *Recorder {
	t.Helper()
	r, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// texts returns "name:reason:message×count" of each event.
func texts(events []Event) string {
	var out []string
	for _, e := range events {
		out = append(out, text(e))
	}
	return strings.Join(out, " ")
}

func text(e Event) string {
	return fmt.Sprintf("%s:%s:%s×%d", e.Object.Name, e.Reason, e.Message, e.Count)
}

func TestRepeatsAreCounted(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, dir, Options{})
		start := time.Now()
		r.Record(key("web"), Warning, "Failed", "boom")
		<-time.After(time.Minute)
		r.Record(key("web"), Normal, "Started", "")
		<-time.After(time.Minute)
		r.Record(key("web"), Warning, "Failed", "boom")
		r.Record(key("db"), Warning, "Failed", "boom")
		events := r.List(Filter{})
		if got, want := texts(events), "web:Started:×1 web:Failed:boom×2 db:Failed:boom×1"; got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		if e := events[1]; !e.FirstTime.Equal(start) || !e.LastTime.Equal(start.Add(2*time.Minute)) {
			t.Errorf("from %v to %v", e.FirstTime, e.LastTime)
		}
		if got := texts(r.List(Filter{Name: "db"})); got != "db:Failed:boom×1" {
			t.Errorf("filtered: %s", got)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestEventsOutliveTheProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	for i := range 3 {
		r := open(t, dir, Options{})
		r.Record(key("web"), Normal, "Started", "again")
		r.Record(key("web"), Normal, "Run", fmt.Sprint(i))
		r.Record(key("gone"), Normal, "Run", fmt.Sprint(i))
		r.Forget(key("gone"))
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r := open(t, dir, Options{})
	if got, want := texts(r.List(Filter{})), "web:Run:0×1 web:Run:1×1 web:Started:again×3 web:Run:2×1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	fi, err := os.Stat(filepath.Join(dir, journalFile))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

func TestCrashCostsOnlyTheTornLine(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, Options{})
	r.Record(key("web"), Normal, "A", "a")
	r.Record(key("web"), Normal, "B", "b")
	_ = r.Close()
	path := filepath.Join(dir, journalFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut <= len(whole); cut += 11 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		r := open(t, dir, Options{})
		got := texts(r.List(Filter{}))
		if all := "web:A:a×1 web:B:b×1"; !strings.HasPrefix(all, got) {
			t.Fatalf("cut at %d: got %s", cut, got)
		}
		if lines := bytes.Count(whole[:cut], []byte("\n")); lines == 3 && got == "" || lines == 2 && !strings.Contains(got, "A") {
			t.Fatalf("cut at %d: whole lines were lost: %q", cut, got)
		}
		r.Record(key("web"), Normal, "C", "c")
		_ = r.Close()
		again := open(t, dir, Options{})
		if after := texts(again.List(Filter{})); after != strings.TrimSpace(got+" web:C:c×1") {
			t.Fatalf("cut at %d: %s became %s", cut, got, after)
		}
		_ = again.Close()
	}
}

func TestJunkInTheFileIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	lines := []string{
		`{"version":1}`,
		`{"event":{"object":{"kind":"Sandbox","namespace":"default","name":"web"},"type":"Normal","reason":"A","count":2}}`,
		"\x00\x00\x00", "not json", "{}", strings.Repeat("x", 3*maxLine),
		`{"event":{"object":{"kind":"Sandbox","namespace":"default","name":"web"},"type":"Normal","reason":"B","count":1}}`, "",
	}
	if err := os.WriteFile(filepath.Join(dir, journalFile), []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r := open(t, dir, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if got, want := texts(r.List(Filter{})), "web:A:×2 web:B:×1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !strings.Contains(log.String(), "lines=4") {
		t.Errorf("log: %s", log.String())
	}
}

func TestFileOfANewerVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, journalFile), []byte("{\"version\":2}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("got %v", err)
	}
}

func TestEventsAreBounded(t *testing.T) {
	dir := t.TempDir()
	opts := Options{MaxPerObject: 10, MaxTotal: 55, FlushInterval: time.Millisecond}
	r := open(t, dir, opts)
	for i := range 5000 {
		r.Record(key(fmt.Sprintf("o%d", i%7)), Normal, "R", fmt.Sprint(i)+strings.Repeat("é", 2000))
	}
	check := func(r *Recorder) {
		t.Helper()
		events := r.List(Filter{})
		if len(events) != 55 {
			t.Errorf("%d events, want 55", len(events))
		}
		if n := len(r.List(Filter{Name: "o0"})); n > 10 {
			t.Errorf("%d events of one object", n)
		}
		for _, e := range events {
			if len(e.Message) > maxMessage || !strings.HasSuffix(e.Message, "é…") {
				t.Errorf("message of %d bytes: %q", len(e.Message), e.Message[len(e.Message)-10:])
			}
		}
		if !strings.HasPrefix(events[54].Message, "4999") {
			t.Errorf("the newest is %.10s", events[54].Message)
		}
	}
	check(r)
	_ = r.Close()
	if fi, err := os.Stat(filepath.Join(dir, journalFile)); err != nil || fi.Size() > (2*55+slack+5000)*1300 {
		t.Errorf("the file grew to %d bytes, %v", fi.Size(), err)
	}
	check(open(t, dir, opts))
}

func TestJournalIsRewrittenBeforeItGrowsLong(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, Options{FlushInterval: time.Nanosecond})
	for range 5 * slack {
		r.Record(key("web"), Normal, "Again", "and again")
		r.flushed(t)
	}
	_ = r.Close()
	data, err := os.ReadFile(filepath.Join(dir, journalFile))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(data, []byte("\n")); n > slack+10 {
		t.Errorf("%d lines for one event", n)
	}
}

// flushed waits until the changes so far were taken to be written.
func (r *Recorder) flushed(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		r.mu.Lock()
		n := len(r.changes)
		r.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("changes are not written")
		}
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

func TestWatchTellsWhatHappens(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, dir, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		r.Record(key("web"), Normal, "Before", "")
		kept, ch := r.ListAndWatch(ctx, Filter{Name: "web"})
		if got := texts(kept); got != "web:Before:×1" {
			t.Errorf("kept: %s", got)
		}
		r.Record(key("db"), Normal, "Other", "")
		r.Record(key("web"), Normal, "Before", "")
		if got := text(<-ch); got != "web:Before:×2" {
			t.Errorf("got %s", got)
		}
		cancel()
		if _, ok := <-ch; ok {
			t.Error("the channel stays open after its context")
		}
		other := r.Watch(t.Context(), Filter{})
		_ = r.Close()
		if _, ok := <-other; ok {
			t.Error("the channel stays open after Close")
		}
		if _, ok := <-r.Watch(t.Context(), Filter{}); ok {
			t.Error("a watch after Close has events")
		}
	})
}

func TestSlowWatcherMissesTheOldestAndHoldsNobodyUp(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, dir, Options{MaxPerObject: 10, FlushInterval: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ch := r.Watch(ctx, Filter{})
		const n = 3 * maxPending
		for i := range n {
			r.Record(key("web"), Normal, "R", fmt.Sprint(i))
		}
		for range 50 { // repeats take no room
			r.Record(key("web"), Normal, "Last", "")
		}
		var last Event
		got := 0
		for last.Reason != "Last" || last.Count != 50 {
			last = <-ch
			got++
		}
		if got > maxPending+2 {
			t.Errorf("%d events waited", got)
		}
		_ = r.Close()
	})
}

func TestDiskThatDoesNotTakeEventsIsReportedOnceAndTriedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	var log bytes.Buffer
	r := open(t, dir, Options{Log: slog.New(slog.NewTextHandler(&log, nil)), FlushInterval: time.Nanosecond})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		r.Record(key("web"), Normal, "R", fmt.Sprint(i))
		r.flushed(t)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "cannot keep events"); n != 1 {
		t.Errorf("warned %d times: %s", n, log.String())
	}
	if got := len(open(t, dir, Options{}).List(Filter{})); got != 5 {
		t.Errorf("%d events were kept, want 5", got)
	}
}

func BenchmarkRecord(b *testing.B) {
	r, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	i := 0
	for b.Loop() {
		r.Record(key(fmt.Sprint("o", i%1000)), Normal, "Reason", fmt.Sprint(i%10))
		i++
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte("{\"version\":1}\n{\"forget\":{\"kind\":\"Sandbox\"}}\n{\"event\":{\"reason\":\"x\"}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, journalFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(dir, Options{MaxTotal: 5})
		if err != nil {
			return // of a newer version
		}
		if n := len(r.List(Filter{})); n > 5 {
			t.Errorf("%d events", n)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}
