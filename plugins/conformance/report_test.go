package conformance_test

import (
	"context"
	"encoding/xml"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vzreconciler/vzreconciler/plugins/conformance"
)

func TestRunnerRunsChecksAsTestsDo(t *testing.T) {
	r := &conformance.Report{Subject: "x 1"}
	var told []string
	r.Done = func(result conformance.Result) { told = append(told, result.Name) }
	runner := conformance.NewRunner(t.Context(), 2)
	run := r.Record(runner.Run)
	names := conformance.Names()
	var order []int
	run(names[3], func(ct conformance.T) {
		ct.Cleanup(func() { order = append(order, 1) })
		ct.Cleanup(func() {
			order = append(order, 2)
			ct.Cleanup(func() { order = append(order, 3) })
		})
		ct.Errorf("one <%d>", 1)
		ct.Fatalf("two")
		ct.Errorf("never")
	})
	run(names[1], func(ct conformance.T) {
		ct.Skipf("it has no %s", "wings")
		ct.Errorf("never")
	})
	run(names[0], func(conformance.T) {})
	runner.Wait()
	if !slices.Equal(order, []int{2, 3, 1}) {
		t.Errorf("cleanups ran in the order %v", order)
	}
	results := r.Results()
	if len(results) != 3 || len(told) != 3 || results[0].Name != names[0] || results[2].Name != names[3] {
		t.Fatalf("results %+v, told %v", results, told)
	}
	if f := results[2]; f.Status != conformance.Failed || !slices.Equal(f.Output, []string{"one <1>", "two"}) {
		t.Errorf("the failed one: %+v", f)
	}
	if s := results[1]; s.Status != conformance.Skipped || !slices.Equal(s.Output, []string{"it has no wings"}) {
		t.Errorf("the skipped one: %+v", s)
	}
	dir := filepath.Join(t.TempDir(), "reports")
	if err := r.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "conformance-x-1.txt"))
	if err != nil || !strings.Contains(string(text), "x 1: 1 passed, 1 failed, 1 skipped") || !strings.Contains(string(text), "two") {
		t.Errorf("%v: %s", err, text)
	}
	var junit struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Failure *struct {
				Text string `xml:",chardata"`
			} `xml:"failure"`
		} `xml:"testcase"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "conformance-x-1.xml"))
	if err != nil || xml.Unmarshal(data, &junit) != nil {
		t.Fatalf("%v: %s", err, data)
	}
	if junit.Tests != 3 || junit.Failures != 1 || junit.Cases[2].Failure == nil || junit.Cases[2].Failure.Text != "one <1>\ntwo" {
		t.Errorf("%+v", junit)
	}
}

func TestRunnerBoundsWhatRunsAtOnce(t *testing.T) {
	runner := conformance.NewRunner(t.Context(), 2)
	var now, most atomic.Int32
	gate := make(chan struct{})
	for i := range 6 {
		if i == 2 {
			close(gate) // the first two run: more would have to wait for them
		}
		runner.Run("", func(ct conformance.T) {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			select {
			case <-gate:
			case <-ct.Context().Done():
			}
		})
	}
	runner.Wait()
	if m := most.Load(); m < 1 || m > 2 {
		t.Errorf("%d checks ran at once, want 2 at most", m)
	}
}

func TestContextOfACheckEndsBeforeItsCleanUp(t *testing.T) {
	runner := conformance.NewRunner(t.Context(), 1)
	var during, after error
	runner.Run("", func(ct conformance.T) {
		during = ct.Context().Err()
		ct.Cleanup(func() { after = ct.Context().Err() })
	})
	runner.Wait()
	if during != nil || after != context.Canceled { //nolint:errorlint // the very one
		t.Errorf("during the check %v, after it %v", during, after)
	}
}
