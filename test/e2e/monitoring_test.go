package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The example's configuration, in Debian's own Prometheus: it scrapes the daemon,
// and every rule is healthy.
func TestMonitoringExampleInPrometheus(t *testing.T) {
	h := newHostAt(t, t.TempDir())
	t.Cleanup(h.cleanUp)
	h.start()

	dir := t.TempDir()
	example := filepath.Join(repo(t), "examples", "monitoring")
	config, err := os.ReadFile(filepath.Join(example, "prometheus.yml"))
	if err != nil {
		t.Fatal(err)
	}
	// Here the daemon has another port, and nobody waits for 15 s.
	text := strings.NewReplacer("127.0.0.1:9753", h.metrics, "15s", "1s").Replace(string(config))
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "cp", filepath.Join(example, "rules.yml"), dir)

	api := freeAddr(t)
	prometheus := exec.CommandContext(t.Context(), filepath.Join(repo(t), ".cache", "root", "usr", "bin", "prometheus"),
		"--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", api)
	var log strings.Builder
	prometheus.Stderr = &log
	if err := prometheus.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = prometheus.Process.Kill()
		_ = prometheus.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})

	for _, query := range []string{`up{job="vzreconciler"} == 1`, `vzreconciler_sandboxes{phase="Running"}`, "vzreconciler_build_info"} {
		h.eventually(time.Minute, query, func() error {
			var answer struct {
				Data struct{ Result []json.RawMessage }
			}
			if err := getJSON(t, "http://"+api+"/api/v1/query?query="+url.QueryEscape(query), &answer); err != nil {
				return err
			}
			if len(answer.Data.Result) != 1 {
				return fmt.Errorf("%d results", len(answer.Data.Result))
			}
			return nil
		})
	}
	h.eventually(time.Minute, "every rule is healthy", func() error {
		var answer struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, Health, LastError string }
				}
			}
		}
		if err := getJSON(t, "http://"+api+"/api/v1/rules", &answer); err != nil {
			return err
		}
		n := 0
		for _, g := range answer.Data.Groups {
			for _, r := range g.Rules {
				n++
				if r.Health != "ok" {
					return fmt.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
				}
			}
		}
		if n < 8 {
			return fmt.Errorf("%d rules", n)
		}
		return nil
	})
}

// freeAddr returns an address that nobody listened on a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func getJSON(t *testing.T, address string, v any) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}
