package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

func TestImagesAreSavedAndLoaded(t *testing.T) {
	var asked []string
	b := &apitest.Backend{
		SaveImagesFunc: func(_ context.Context, req *api.SaveImagesRequest, w io.Writer) error {
			asked = req.GetReferences()
			if req.GetPlatform() == "linux/none" {
				return fmt.Errorf("%w: image app:v1", drivers.ErrNotFound)
			}
			_, err := io.WriteString(w, "archive of "+strings.Join(asked, " "))
			return err
		},
		LoadImagesFunc: func(_ context.Context, req *api.LoadImagesStart, archive io.Reader) (*api.LoadImagesResponse, error) {
			text, err := io.ReadAll(archive)
			return &api.LoadImagesResponse{Images: []*api.Image{
				{Reference: req.GetName() + string(text), Digest: "sha256:1"}, {Reference: "two", Digest: "sha256:2"},
			}}, err
		},
	}
	file := filepath.Join(t.TempDir(), "out.tar")
	if out := vzctl(t, b, "", "image", "save", "app:v1", "db:v1", "-o", file); out.code != 0 {
		t.Fatalf("%+v", out)
	}
	text, err := os.ReadFile(file)
	if err != nil || string(text) != "archive of app:v1 db:v1" {
		t.Errorf("%q, %v", text, err)
	}
	// A failure leaves what was there.
	if out := vzctl(t, b, "", "image", "save", "app:v1", "--platform", "linux/none", "-o", file); out.code != exitNotFound {
		t.Errorf("%+v, want exit code %d", out, exitNotFound)
	}
	if again, err := os.ReadFile(file); err != nil || string(again) != string(text) {
		t.Errorf("after a failure: %q, %v", again, err)
	}
	wantOutput(t, vzctl(t, b, "", "image", "save", "docker-archive:/x.tar").stdout, "archive of docker-archive:/x.tar")

	wantOutput(t, vzctl(t, b, "", "image", "load", "--name", "n:", "-i", file).stdout, "n:archive of app:v1 db:v1 sha256:1\ntwo sha256:2\n")
	wantOutput(t, vzctl(t, b, "text", "image", "load").stdout, "text sha256:1\ntwo sha256:2\n")
	if out := vzctl(t, b, "", "image", "load", "-i", file+".none"); out.code != exitNotFound {
		t.Errorf("%+v, want exit code %d", out, exitNotFound)
	}
}

func TestImageTagAndPush(t *testing.T) {
	b := &apitest.Backend{
		TagImageFunc: func(_ context.Context, req *api.TagImageRequest) error {
			if !strings.HasPrefix(req.GetReference(), "docker-archive:/") || req.GetName() != "registry.lan/app:v1" {
				return fmt.Errorf("%w: %s as %s", drivers.ErrInvalidArgument, req.GetReference(), req.GetName())
			}
			return nil
		},
		PushImageFunc: func(_ context.Context, req *api.PushImageRequest, send func(*api.PushImageResponse) error) error {
			return errors.Join(send(&api.PushImageResponse{CompleteBytes: 1, TotalBytes: 2}), send(&api.PushImageResponse{Digest: "sha256:abc"}))
		},
	}
	if out := vzctl(t, b, "", "image", "tag", "docker-archive:app.tar", "registry.lan/app:v1"); out.code != 0 {
		t.Errorf("%+v", out)
	}
	wantOutput(t, vzctl(t, b, "", "image", "push", "registry.lan/app:v1").stdout, "registry.lan/app:v1 sha256:abc\n")
}

func TestImageInspect(t *testing.T) {
	b := &apitest.Backend{InspectImageFunc: func(_ context.Context, req *api.InspectImageRequest) (*api.InspectImageResponse, error) {
		return &api.InspectImageResponse{
			Image:    &api.Image{Reference: req.GetReference(), Digest: "sha256:abc", Platform: "linux/amd64"},
			Manifest: []byte(`{"schemaVersion":2}`), Config: []byte(`{"config":{"Entrypoint":["/bin/app"]}}`),
		}, nil
	}}
	wantOutput(t, vzctl(t, b, "", "image", "inspect", "app:v1", "-o", "jsonpath={.config.config.Entrypoint[0]} {.manifest.schemaVersion}").stdout, "/bin/app 2")
	wantOutput(t, vzctl(t, b, "", "image", "inspect", "a", "b", "-o", "jsonpath={.items[*].reference}").stdout, "a b")
	if out := vzctl(t, b, "", "image", "inspect", "app:v1"); !strings.Contains(out.stdout, `"digest": "sha256:abc"`) {
		t.Errorf("%+v", out)
	}
}

func TestRegistryLogin(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "s3cret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)

	out := command(t, "wr0ng\n", "registry", "login", "-u", "me", "--password-stdin", host)
	if out.code != exitFailed || !strings.Contains(out.stderr, "does not take") || strings.Contains(out.stderr, "wr0ng") {
		t.Errorf("wrong password: %+v", out)
	}
	if out := command(t, "", "registry", "logout", host); out.code != exitNotFound {
		t.Errorf("logout before login: %+v", out)
	}
	if out := command(t, "s3cret\n", "registry", "login", "-u", "me", "--password-stdin", host); out.code != 0 || strings.Contains(out.stdout+out.stderr, "s3cret") {
		t.Errorf("login: %+v", out)
	}
	if info, err := os.Stat(filepath.Join(dir, "config.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of credentials: %v, %v", info, err)
	}
	wantOutput(t, command(t, "", "registry", "list", "-o", "jsonpath={.items[*].registry} {.items[*].username}").stdout, host+" me")
	if out := command(t, "", "registry", "logout", host); out.code != 0 {
		t.Errorf("logout: %+v", out)
	}
	wantOutput(t, command(t, "", "registry", "list", "-o", "jsonpath={.items[*].registry}").stdout, "")
	for _, args := range [][]string{{"login", "-u", "me", host}, {"login", "--password-stdin", host}, {"login", "a", "b"}} {
		if out := command(t, "", append([]string{"registry"}, args...)...); out.code != exitUsage {
			t.Errorf("%v: %+v, want exit code %d", args, out, exitUsage)
		}
	}
}
