package reconciler

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/crilog"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// logs returns the texts of the lines that Logs sends.
func (w *world) logs(req *api.LogsRequest) (string, error) {
	var texts []string
	err := w.m.Logs(w.t.Context(), req, func(data []byte) error {
		for line := range bytes.Lines(data) {
			l, err := crilog.ParseLine(line)
			if err != nil {
				return err
			}
			texts = append(texts, string(l.Text))
		}
		return nil
	})
	return strings.Join(texts, " "), err
}

func TestPreviousLogIsThatOfTheRunBeforeTheLatest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", strings.Replace(sandbox("web"), "[serve]", "[sh, -c, sleep 20; exit 3]", 1))
		after(time.Second)
		path := w.state.Bundle("default", "web").ProcessLog("main")
		var first, second []byte
		say := func(log *[]byte, text string) {
			*log = crilog.Line{Time: time.Now(), Stream: crilog.Stdout, Text: []byte(text)}.Append(*log)
		}
		req := &api.LogsRequest{Object: ref("web"), Tail: -1, Previous: true}
		if _, err := w.logs(req); !errors.Is(err, drivers.ErrNotFound) {
			t.Errorf("before any end: %v", err)
		}
		say(&first, "a1")
		after(25 * time.Second) // the second run
		say(&first, "b1")
		after(10 * time.Second)
		say(&second, "b2") // after a rotation
		say(&second, "b3")
		after(15 * time.Second) // the third
		if n := w.status("web").ContainerStatuses[0].RestartCount; n != 2 {
			t.Fatalf("%d restarts", n)
		}
		say(&second, "c1")
		if err := errors.Join(os.MkdirAll(w.state.Bundle("default", "web").LogsDir(), 0o700),
			os.WriteFile(path+".1", first, 0o600), os.WriteFile(path, second, 0o600)); err != nil {
			t.Fatal(err)
		}
		for want, req := range map[string]*api.LogsRequest{
			"a1 b1 b2 b3 c1": {Tail: -1},
			"b1 b2 b3":       {Tail: -1, Previous: true, Follow: true}, // which has no end to wait for
			"b2 b3":          {Tail: 2, Previous: true},
		} {
			req.Object = ref("web")
			if got, err := w.logs(req); err != nil || got != want {
				t.Errorf("%v: %q, %v; want %q", req, got, err, want)
			}
		}
		// What a daemon that came later knows of the times is enough.
		w.stop()
		w.start()
		if got, err := w.logs(req); err != nil || got != "b1 b2 b3" {
			t.Errorf("after a restart of the daemon: %q, %v", got, err)
		}
	})
}

func TestDefaultContainerIsMeantWhereNoneIsNamed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		manifest := strings.Replace(sandbox("web"), "metadata: {name: web}",
			"metadata: {name: web, annotations: {kubectl.kubernetes.io/default-container: side}}", 1) +
			"      - {name: side, image: \"example.com/app:1\", command: [serve]}\n"
		w.write("web.yaml", manifest)
		after(time.Second)
		w.ok(w.m.Kill(t.Context(), &api.KillRequest{Object: ref("web"), Signal: 9}))
		after(time.Minute)
		for _, cs := range w.status("web").ContainerStatuses {
			if want := map[string]int32{"main": 0, "side": 1}[cs.Name]; cs.RestartCount != want {
				t.Errorf("%s was restarted %d times, want %d", cs.Name, cs.RestartCount, want)
			}
		}
	})
}
