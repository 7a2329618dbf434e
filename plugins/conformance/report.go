package conformance

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Status is how a check ended.
type Status string

// The ways a check ends.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// Result is what came of one check.
type Result struct {
	Name    string  `json:"name"`
	Status  Status  `json:"status"`
	Seconds float64 `json:"seconds"`
	// Output is what the check had to say: its failures, or why it was skipped.
	Output []string `json:"output,omitempty"`
}

// Report gathers what came of a run of the suite.
type Report struct {
	// Subject says what was tested, as "qemu 0.1.0".
	Subject string
	// Done, if not nil, is told of each result, one after the other.
	Done func(Result)

	mu      sync.Mutex
	results []Result
}

// Record returns an Options.Run that notes in the report what becomes of each
// check that run runs.
func (r *Report) Record(run func(name string, check func(T))) func(name string, check func(T)) {
	return func(name string, check func(T)) {
		run(name, func(t T) {
			t.Helper()
			rec := &recorded{T: t, result: Result{Name: name, Status: Passed}}
			begin := time.Now()
			// Deferred: Fatalf and Skipf end the goroutine.
			defer func() {
				rec.mu.Lock()
				rec.result.Seconds = time.Since(begin).Seconds()
				result := rec.result
				rec.mu.Unlock()
				r.mu.Lock()
				defer r.mu.Unlock()
				r.results = append(r.results, result)
				if r.Done != nil {
					r.Done(result)
				}
			}()
			check(rec)
		})
	}
}

// recorded is a T that notes what is said to it.
type recorded struct {
	T

	mu     sync.Mutex
	result Result
}

func (t *recorded) note(status Status, format string, args []any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result.Output = append(t.result.Output, fmt.Sprintf(format, args...))
	if t.result.Status != Failed {
		t.result.Status = status
	}
}

func (t *recorded) Errorf(format string, args ...any) {
	t.T.Helper()
	t.note(Failed, format, args)
	t.T.Errorf(format, args...)
}

func (t *recorded) Fatalf(format string, args ...any) {
	t.T.Helper()
	t.note(Failed, format, args)
	t.T.Fatalf(format, args...)
}

func (t *recorded) Skipf(format string, args ...any) {
	t.T.Helper()
	t.note(Skipped, format, args)
	t.T.Skipf(format, args...)
}

// Results returns the results so far, in the order of the suite.
func (r *Report) Results() []Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := Names()
	return slices.SortedFunc(slices.Values(r.results), func(a, b Result) int {
		return cmp.Compare(slices.Index(names, a.Name), slices.Index(names, b.Name))
	})
}

// Count returns how many checks ended in a way.
func (r *Report) Count(s Status) int {
	n := 0
	for _, result := range r.Results() {
		if result.Status == s {
			n++
		}
	}
	return n
}

// Line is a result in one line, for people.
func (r Result) Line() string {
	sign := map[Status]string{Passed: "ok  ", Failed: "FAIL", Skipped: "skip"}[r.Status]
	line := fmt.Sprintf("%s  %-36s %7.2fs", sign, r.Name, r.Seconds)
	if r.Status == Skipped && len(r.Output) > 0 {
		line += "  " + strings.Join(r.Output, "; ")
	}
	return line
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Runtime contract on %s\n\n", r.Subject)
	for _, result := range r.Results() {
		b.WriteString(result.Line() + "\n")
		if result.Status == Failed {
			for _, line := range result.Output {
				b.WriteString("        " + strings.ReplaceAll(line, "\n", "\n        ") + "\n")
			}
		}
	}
	b.WriteString("\n" + r.Summary() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// Summary is the totals in one line.
func (r *Report) Summary() string {
	var seconds float64
	for _, result := range r.Results() {
		seconds += result.Seconds
	}
	return fmt.Sprintf("%s: %d passed, %d failed, %d skipped, %.1fs in all",
		r.Subject, r.Count(Passed), r.Count(Failed), r.Count(Skipped), seconds)
}

// ReportEnv names the environment variable in which tests find the directory
// that they are to write their reports to.
const ReportEnv = "VZ_REPORT_DIR"

// WriteFiles writes the report into a directory, as text and for CI; nothing if
// the directory is "".
func (r *Report) WriteFiles(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	base := filepath.Join(dir, "conformance-"+strings.ReplaceAll(r.Subject, " ", "-"))
	for suffix, write := range map[string]func(io.Writer) error{".txt": r.WriteText, ".xml": r.WriteJUnit} {
		f, err := os.Create(base + suffix) //nolint:gosec // the caller's directory
		if err != nil {
			return err
		}
		if err := errors.Join(write(f), f.Close()); err != nil {
			return fmt.Errorf("write %s: %w", f.Name(), err)
		}
	}
	return nil
}

// WriteJUnit writes the report as the XML that CI systems read.
func (r *Report) WriteJUnit(w io.Writer) error {
	type message struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	type testcase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		Time    string   `xml:"time,attr"`
		Failure *message `xml:"failure"`
		Skipped *message `xml:"skipped"`
	}
	type suite struct {
		XMLName  xml.Name   `xml:"testsuite"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Skipped  int        `xml:"skipped,attr"`
		Time     string     `xml:"time,attr"`
		Cases    []testcase `xml:"testcase"`
	}
	s := suite{Name: "conformance of " + r.Subject, Failures: r.Count(Failed), Skipped: r.Count(Skipped)}
	var seconds float64
	for _, result := range r.Results() {
		c := testcase{Name: result.Name, Class: "conformance", Time: fmt.Sprintf("%.3f", result.Seconds)}
		text := strings.Join(result.Output, "\n")
		first, _, _ := strings.Cut(text, "\n")
		switch result.Status {
		case Failed:
			c.Failure = &message{first, text}
		case Skipped:
			c.Skipped = &message{first, ""}
		case Passed:
		}
		seconds += result.Seconds
		s.Cases = append(s.Cases, c)
	}
	s.Tests, s.Time = len(s.Cases), fmt.Sprintf("%.3f", seconds)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
