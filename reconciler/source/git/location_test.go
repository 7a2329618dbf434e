package git

import (
	"strings"
	"testing"
)

func TestLocations(t *testing.T) {
	for text, want := range map[string]string{
		"https://h/r.git#main":                "https://h/r.git#main",
		"https://h:8443/o/r#feature/x:/a//b/": "https://h:8443/o/r#feature/x:a/b",
		"ssh://git@h:2222/r.git#v1.2:.":       "ssh://git@h:2222/r.git#v1.2",
		"file:///srv/r.git#main:../../etc":    "file:///srv/r.git#main:etc",
		"http://127.0.0.1:80/r#m":             "http://127.0.0.1:80/r#m",
		"http://[::1]/r#m":                    "http://[::1]/r#m",
	} {
		if l, err := ParseLocation(text); err != nil || l.String() != want {
			t.Errorf("%s: %s, %v; want %s", text, l, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                            "begins with https://",
		"/srv/r.git#main":             "begins with https://",
		"git@github.com:o/r.git#main": "write ssh://USER@HOST/PATH",
		"git://h/r#main":              "begins with https://",
		"https://h/r.git":             "which branch?",
		"https://h/r.git#a..b":        "no name of a branch",
		"https://h/r.git#-f":          "no name of a branch",
		"https://h/r.git?x=y#main":    "no query",
		"https://h#main":              "names no repository",
		"https:///r#main":             "no host",
		"file://srv/r#main":           "three slashes",
		"http://example.com/r#main":   "not safe",
		"ssh://u:p@h/r#main":          "credentials into a file",
	} {
		if _, err := ParseLocation(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
