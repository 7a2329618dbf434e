package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// names lists an archive; regular files with what they hold.
func names(r io.Reader) (string, error) {
	var list []string
	for tr := tar.NewReader(r); ; {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(list, " "), nil
		}
		if err != nil {
			return "", err
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			return "", err
		}
		text := hdr.Name
		switch hdr.Typeflag {
		case tar.TypeReg:
			text += "=" + string(data)
		case tar.TypeSymlink:
			text += "->" + hdr.Linkname
		}
		list = append(list, text)
	}
}

func TestCpPacksWhatIsNamed(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "d", "f"), "text")
	if err := os.Symlink("d/f", filepath.Join(dir, "l")); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		ref  string
		req  drivers.CopyInRequest
		want string
	}{
		{[]string{dir + "/d", "web:/srv"}, "default/web", drivers.CopyInRequest{Path: "/srv"}, "d/ d/f=text"},
		{[]string{dir + "/d/", "web:/srv/"}, "default/web", drivers.CopyInRequest{Path: "/srv/"}, "d/ d/f=text"},
		{[]string{dir + "/d/.", "prod/web:srv"}, "prod/web", drivers.CopyInRequest{Path: "/srv"}, "./ ./f=text"},
		{[]string{dir + "/d/f", "sandbox/web:/srv:x"}, "default/web", drivers.CopyInRequest{Path: "/srv:x"}, "f=text"},
		{[]string{dir + "/l", "web:/srv"}, "default/web", drivers.CopyInRequest{Path: "/srv"}, "l->d/f"},
		{[]string{"-L", dir + "/l", "web:/srv"}, "default/web", drivers.CopyInRequest{Path: "/srv"}, "l=text"},
		{[]string{"-a", "-p", "-c", "main", "-n", "prod", dir + "/d/f", "web:/srv"}, "prod/web",
			drivers.CopyInRequest{Path: "/srv", Container: "main", KeepOwner: true, Parents: true}, "f=text"},
	} {
		var got, ref string
		var req drivers.CopyInRequest
		b := &apitest.Backend{CopyInFunc: func(_ context.Context, r *api.Ref, q drivers.CopyInRequest, archive io.Reader) (err error) {
			ref, req = r.GetNamespace()+"/"+r.GetName(), q
			got, err = names(archive)
			return err
		}}
		out := vzctl(t, b, "", append([]string{"cp"}, tc.args...)...)
		if out.code != exitDone || out.stdout+out.stderr != "" || got != tc.want || ref != tc.ref || req != tc.req {
			t.Errorf("%v: %+v; %q in %s by %+v, want %q in %s by %+v", tc.args, out, got, ref, req, tc.want, tc.ref, tc.req)
		}
	}
}

func TestCpPassesAnArchiveThroughAsItIs(t *testing.T) {
	b := &apitest.Backend{
		CopyInFunc: func(_ context.Context, _ *api.Ref, req drivers.CopyInRequest, archive io.Reader) error {
			data, err := io.ReadAll(archive)
			if string(data) != "any\x00thing" || !req.Unpack {
				t.Errorf("received %q, %+v", data, req)
			}
			return err
		},
		CopyOutFunc: func(_ context.Context, _ *api.Ref, _ drivers.CopyOutRequest, w io.Writer) error {
			_, err := io.WriteString(w, "any\x00thing")
			return err
		},
	}
	if out := vzctl(t, b, "any\x00thing", "cp", "-", "web:/srv"); out.code != exitDone {
		t.Errorf("in: %+v", out)
	}
	if out := vzctl(t, b, "", "cp", "web:/srv", "-"); out.code != exitDone || out.stdout != "any\x00thing" {
		t.Errorf("out: %+v", out)
	}
}

// sends is a backend from which these entries are copied; regular files hold "x".
func sends(t *testing.T, hdrs ...tar.Header) *apitest.Backend {
	t.Helper()
	return &apitest.Backend{CopyOutFunc: func(_ context.Context, _ *api.Ref, _ drivers.CopyOutRequest, w io.Writer) error {
		tw := tar.NewWriter(w)
		for _, h := range hdrs {
			if h.Typeflag == tar.TypeReg {
				h.Size = 1
			}
			h.Mode = 0o755
			if err := tw.WriteHeader(&h); err != nil {
				return err
			}
			if h.Typeflag == tar.TypeReg {
				if _, err := io.WriteString(tw, "x"); err != nil {
					return err
				}
			}
		}
		return tw.Close()
	}}
}

func TestCpPutsFilesWhereDockerWould(t *testing.T) {
	one := []tar.Header{{Name: "f", Typeflag: tar.TypeReg}}
	tree := []tar.Header{{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/f", Typeflag: tar.TypeReg}}
	for _, tc := range []struct {
		hdrs  []tar.Header
		dest  string // below the directory of the test
		want  string // the file that is there in the end; empty: refused
		flags []string
	}{
		{one, "/there", "there/f", nil},
		{one, "/there/", "there/f", nil},
		{one, "/new", "new", nil},
		{one, "/new/", "", nil},
		{one, "/file", "file", nil},
		{one, "/file/", "", nil},
		{one, "/no/new", "", nil},
		{one, "/no/new", "no/new", []string{"-p"}},
		{tree, "/there", "there/d/f", nil},
		{tree, "/new", "new/f", nil},
		{tree, "/new/", "new/f", nil},
		{tree, "/file", "", nil},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "there", "other"), "o")
		write(t, filepath.Join(dir, "file"), "o")
		out := vzctl(t, sends(t, tc.hdrs...), "", append(append([]string{"cp"}, tc.flags...), "web:/d", dir+tc.dest)...)
		if tc.want == "" {
			if out.code == exitDone || out.stderr == "" {
				t.Errorf("to %s: %+v, want it refused", tc.dest, out)
			}
			continue
		}
		if data, err := os.ReadFile(filepath.Join(dir, tc.want)); out.code != exitDone || err != nil || string(data) != "x" {
			t.Errorf("to %s: %+v; %s holds %q, %v", tc.dest, out, tc.want, data, err)
		}
	}
}

func TestCpTrustsNoArchiveFromASandbox(t *testing.T) {
	base := t.TempDir()
	write(t, filepath.Join(base, "victim"), "safe")
	for name, hdrs := range map[string][]tar.Header{
		"dot dot":      {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/../../victim", Typeflag: tar.TypeReg}},
		"two roots":    {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "victim", Typeflag: tar.TypeReg}},
		"over a link":  {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "d/l/victim", Typeflag: tar.TypeReg}},
		"hard link":    {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/h", Typeflag: tar.TypeLink, Linkname: "d/../../victim"}},
		"link upwards": {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd\x1b[0m"}},
	} {
		dest := filepath.Join(base, "target")
		if err := os.RemoveAll(dest); err != nil {
			t.Fatal(err)
		}
		out := vzctl(t, sends(t, hdrs...), "", "cp", "web:/d", dest)
		if data, err := os.ReadFile(filepath.Join(base, "victim")); err != nil || string(data) != "safe" {
			t.Fatalf("%s: the victim holds %q, %v", name, data, err)
		}
		if strings.HasPrefix(name, "link") {
			if _, err := os.Lstat(filepath.Join(dest, "l")); err == nil || out.code != exitDone || !strings.Contains(out.stderr, "left out") || strings.Contains(out.stderr, "\x1b") {
				t.Errorf("%s: %+v, want it left out with a warning", name, out)
			}
			out = vzctl(t, sends(t, hdrs...), "", "cp", "--keep-links", "web:/d", filepath.Join(t.TempDir(), "x"))
			if out.code != exitDone || out.stderr != "" {
				t.Errorf("%s, kept: %+v", name, out)
			}
		} else if out.code != exitFailed && out.code != exitDone {
			t.Errorf("%s: %+v", name, out)
		}
	}
}

func TestCpThatFailsLeavesNoHalfFile(t *testing.T) {
	whole := &bytes.Buffer{}
	tw := tar.NewWriter(whole)
	if err := tw.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Mode: 0o644, Size: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "old")
	b := &apitest.Backend{CopyOutFunc: func(_ context.Context, _ *api.Ref, _ drivers.CopyOutRequest, w io.Writer) error {
		_, err := w.Write(whole.Bytes()[:700<<10])
		return errors.Join(err, drivers.ErrInvalidState)
	}}
	out := vzctl(t, b, "", "cp", "web:/f", dir)
	if out.code != exitFailed || !strings.Contains(out.stderr, "invalid state") {
		t.Errorf("%+v", out)
	}
	left, err := os.ReadDir(dir)
	if data, rerr := os.ReadFile(filepath.Join(dir, "f")); err != nil || rerr != nil || len(left) != 1 || string(data) != "old" {
		t.Errorf("left %v with %q, %v, %v", left, data, err, rerr)
	}
}

func TestCpSaysWhatIsWrong(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"a", "b"}, exitUsage, "one of the two must be in a sandbox"},
		{[]string{"a:/x", "b:/y"}, exitUsage, "vzctl cp a:/x - | vzctl cp - b:/y"},
		{[]string{"web:", "."}, exitUsage, "web:PATH"},
		{[]string{":/x", "."}, exitUsage, "names no sandbox"},
		{[]string{"cm/web:/x", "."}, exitUsage, "is not a sandbox"},
		{[]string{"./no/such/file", "web:/x"}, exitNotFound, "no such file"},
		{[]string{"web:/nosuch", "."}, exitNotFound, "not there"},
	} {
		b := &apitest.Backend{CopyOutFunc: func(context.Context, *api.Ref, drivers.CopyOutRequest, io.Writer) error {
			return errors.Join(drivers.ErrNotFound, errors.New("not there"))
		}}
		if out := vzctl(t, b, "", append([]string{"cp"}, tc.args...)...); out.code != tc.code || !strings.Contains(out.stderr, tc.want) {
			t.Errorf("%v: %+v, want code %d and %q", tc.args, out, tc.code, tc.want)
		}
	}
}

func TestExportWritesAWholeFileOrNone(t *testing.T) {
	var fail error
	b := &apitest.Backend{ExportFunc: func(_ context.Context, req *api.ExportRequest, w io.Writer) error {
		if req.GetContainer() != "main" || req.GetObject().GetName() != "web" {
			t.Errorf("asked for %v", req)
		}
		_, err := io.WriteString(w, "archive")
		return errors.Join(err, fail)
	}}
	if out := vzctl(t, b, "", "export", "web", "-c", "main"); out.code != exitDone || out.stdout != "archive" {
		t.Errorf("%+v", out)
	}
	file := filepath.Join(t.TempDir(), "web.tar")
	if out := vzctl(t, b, "", "export", "web", "-c", "main", "-o", file); out.code != exitDone || out.stdout != "" {
		t.Errorf("%+v", out)
	}
	fail = drivers.ErrInvalidState
	if out := vzctl(t, b, "", "export", "web", "-c", "main", "-o", file+".2"); out.code != exitFailed {
		t.Errorf("%+v", out)
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if data, rerr := os.ReadFile(file); err != nil || rerr != nil || string(data) != "archive" || len(left) != 1 {
		t.Errorf("%q, %v, %v, %v", data, left, err, rerr)
	}
}
