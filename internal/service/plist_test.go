package service

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"howett.net/plist"
)

func TestPropertyLists(t *testing.T) {
	for name, s := range services() {
		data, err := propertyList("dev.vzreconciler", &s.service, s.system)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".plist", data)

		// It is XML to others too, not only to the library that wrote it.
		d := xml.NewDecoder(strings.NewReader(string(data)))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		var got map[string]any
		if _, err := plist.Unmarshal(data, &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		args := []any{s.service.Program}
		for _, a := range s.service.Args {
			args = append(args, a)
		}
		if diff := cmp.Diff(args, got["ProgramArguments"]); diff != "" {
			t.Errorf("%s: the command line (-want +got):\n%s", name, diff)
		}
		env, _ := got["EnvironmentVariables"].(map[string]any)
		for key, want := range s.service.Env {
			if env[key] != want {
				t.Errorf("%s: %s is %q, want %q", name, key, env[key], want)
			}
		}
	}
}

// What makes a restart of the daemon harmless to sandboxes must not get lost.
func TestAgentsLeaveSandboxesRunning(t *testing.T) {
	for name, s := range services() {
		data, err := propertyList("dev.vzreconciler", &s.service, s.system)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if _, err := plist.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"AbandonProcessGroup", "KeepAlive", "RunAtLoad"} {
			if got[key] != true {
				t.Errorf("%s: %s is %v", name, key, got[key])
			}
		}
	}
}

func TestDescriptionsThatNoFileCanCarryAreRefused(t *testing.T) {
	good := func() Service { return Service{Description: "x", Program: "/bin/true"} }
	for name, spoil := range map[string]func(*Service){
		"relative program":         func(s *Service) { s.Program = "bin/true" },
		"relative log file":        func(s *Service) { s.LogFile = "log" },
		"newline in the program":   func(s *Service) { s.Program = "/bin/a\nExecStartPre=/bin/evil" },
		"newline in the text":      func(s *Service) { s.Description = "a\n[Service]" },
		"newline in the user":      func(s *Service) { s.User = "a\nb" },
		"NUL in an argument":       func(s *Service) { s.Args = []string{"a\x00b"} },
		"escape in a value":        func(s *Service) { s.Env = map[string]string{"A": "\x1b"} },
		"not UTF-8":                func(s *Service) { s.Args = []string{"\xff"} },
		"= in a variable's name":   func(s *Service) { s.Env = map[string]string{"A=B": "1"} },
		"blank in a variable name": func(s *Service) { s.Env = map[string]string{"A B": "1"} },
		"empty variable name":      func(s *Service) { s.Env = map[string]string{"": "1"} },
	} {
		s := good()
		spoil(&s)
		if err := s.validate(); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	s := good()
	if err := s.validate(); err != nil {
		t.Errorf("the good one was refused: %v", err)
	}
}
