package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// need skips the check, at its first sandbox, unless the runtime has these
// capabilities. It is called before the first sandbox is made.
func (s *suite) need(capabilities ...string) { s.needs = append(s.needs, capabilities...) }

// skipUnlessAble asks a runtime for what the check needs.
func (s *suite) skipUnlessAble(rt drivers.Runtime) {
	s.Helper()
	info, err := rt.Info(s.ctx)
	if err != nil {
		s.Fatalf("info: %v", err)
	}
	s.info = info
	for _, c := range s.needs {
		if !info.Can(c) {
			s.Skipf("the runtime has no capability %q", c)
		}
	}
}

// capabilityOf names the capability that a call belongs to.
func capabilityOf(call string) string {
	return map[string]string{
		"exec":       drivers.CapabilityExec,
		"attach":     drivers.CapabilityAttach,
		"dial":       drivers.CapabilityDial,
		"statistics": drivers.CapabilityStatistics,
		"resize":     drivers.CapabilityTerminal,
		"pause":      drivers.CapabilityPause,
		"resume":     drivers.CapabilityPause,

		"save state":    drivers.CapabilitySaveState,
		"restore state": drivers.CapabilitySaveState,
	}[call]
}

// mayLack reports whether an error is the right one for a call that the runtime
// does not have.
func (s *suite) mayLack(call string, err error) bool {
	c := capabilityOf(call)
	return c != "" && !s.info.Can(c) && errors.Is(err, drivers.ErrUnsupported)
}

func infoIsGood(s *suite) {
	rt := s.created(forever).Runtime
	info, err := rt.Info(s.ctx)
	if err != nil {
		s.Fatalf("info: %v", err)
	}
	if info.Name == "" || info.Version == "" || len(info.Platforms) == 0 {
		s.Errorf("info %+v, want a name, a version and platforms", info)
	}
	for _, c := range info.Capabilities {
		if !slices.Contains(drivers.Capabilities(), c) {
			s.Errorf("capability %q means nothing: there are %s", c, strings.Join(drivers.Capabilities(), ", "))
		}
	}
	var schema map[string]any
	if len(info.RuntimeDataSchema) > 0 && json.Unmarshal(info.RuntimeDataSchema, &schema) != nil {
		s.Errorf("the schema of runtimeData is not a JSON object")
	}
}

func whatIsLackingSaysSo(s *suite) {
	sb := s.created(forever)
	rt := sb.Runtime
	calls := map[string]func() error{
		drivers.CapabilityExec: func() error {
			_, err := rt.Exec(s.ctx, s.opts.Container, sh("true"), drivers.Stdio{})
			return err
		},
		drivers.CapabilityAttach: func() error {
			_, err := rt.Attach(s.ctx, s.opts.Container, drivers.Stdio{})
			return err
		},
		drivers.CapabilityStatistics: func() error {
			_, err := rt.Statistics(s.ctx)
			return err
		},
		drivers.CapabilityTerminal: func() error {
			spec := sh("true")
			spec.Terminal = true
			return rt.CreateProcess(s.ctx, "terminal", s.opts.Container, spec)
		},
		drivers.CapabilityPause: func() error { return rt.Pause(s.ctx) },
		drivers.CapabilitySaveState: func() error {
			return rt.SaveState(s.ctx, filepath.Join(sb.Request.Bundle, "saved"), drivers.SaveOptions{})
		},
	}
	maps.DeleteFunc(calls, func(c string, _ func() error) bool { return s.info.Can(c) })
	if len(calls) == 0 {
		s.Skipf("the runtime lacks nothing")
	}
	s.bootAndStart(sb)
	for c, call := range calls {
		if err := call(); !errors.Is(err, drivers.ErrUnsupported) {
			s.Errorf("without the capability %q: %v, want it not supported", c, err)
		}
	}
	s.wantState(rt, drivers.StateRunning)
}

func execTakesEmptyAndBig(s *suite) {
	s.need(drivers.CapabilityExec)
	rt := s.running(forever)
	if exit, out, errs := s.exec(rt, drivers.ProcessSpec{Args: []string{"/bin/cat"}}, bytes.NewReader(nil)); exit.Code != 0 || out+errs != "" {
		s.Errorf("cat of an empty stdin: %s, %q", codeOf(exit), out+errs)
	}
	if exit, out, errs := s.exec(rt, sh("true"), strings.NewReader(strings.Repeat("x", 1<<20))); exit.Code != 0 || out+errs != "" {
		s.Errorf("a program that does not read its stdin: %s, %q", codeOf(exit), out+errs)
	}
	// The longest that Linux takes in one string is 128 KiB.
	big := strings.Repeat("0123456789abcdef", 7<<10)
	spec := sh(`echo "$BIG"; echo "$EMPTY"`)
	spec.Env = append(spec.Env, drivers.EnvVar{Name: "BIG", Value: big}, drivers.EnvVar{Name: "EMPTY"})
	if exit, out, _ := s.exec(rt, spec, nil); exit.Code != 0 || out != big+"\n\n" {
		s.Errorf("a variable of %d bytes: %s, %d bytes back", len(big), codeOf(exit), len(out))
	}
}
