package bundle

import "testing"

func TestAllowedRoot(t *testing.T) {
	for _, c := range []struct {
		roots []string
		path  string
		want  string
	}{
		{nil, "/srv", ""},
		{[]string{"/srv"}, "/srv", "/srv"},
		{[]string{"/srv"}, "/srv/a/b", "/srv"},
		{[]string{"/srv"}, "/srvx", ""},
		{[]string{"/srv/a"}, "/srv", ""},
		{[]string{"/srv", "/srv/a"}, "/srv/a/b", "/srv/a"},
		{[]string{"/"}, "/etc/passwd", "/"},
	} {
		got, ok := allowedRoot(c.roots, c.path)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%s of %q: got %q, %t, want %q", c.path, c.roots, got, ok, c.want)
		}
	}
}
