package metrics

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

const monitoring = "../../examples/monitoring"

var metricName = regexp.MustCompile(`\b(?:vzreconciler|workqueue|go|process)_\w+`)

// Every query of the examples asks for metrics that there are.
func TestExamplesOfMonitoringUseMetricsThatExist(t *testing.T) {
	reg, _ := used(t)
	exist := map[string]bool{}
	for _, f := range gather(t, reg) {
		exist[f.GetName()] = true
		if f.GetType() == dto.MetricType_HISTOGRAM {
			exist[f.GetName()+"_bucket"] = true
		}
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	data, err := os.ReadFile(filepath.Join(monitoring, "dashboard.json"))
	if err == nil {
		err = json.Unmarshal(data, &board)
	}
	if err != nil {
		t.Fatal(err)
	}
	check := func(where, query string) int {
		names := metricName.FindAllString(query, -1)
		for _, name := range names {
			if !exist[name] {
				t.Errorf("%s: there is no metric %s", where, name)
			}
		}
		return len(names)
	}
	for _, p := range board.Panels {
		n := 0
		for _, target := range p.Targets {
			n += check("panel "+p.Title, target.Expr)
		}
		if n == 0 {
			t.Errorf("panel %s asks for none of our metrics", p.Title)
		}
	}
	rules, err := os.ReadFile(filepath.Join(monitoring, "rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(rules)) {
		if _, expr, ok := strings.Cut(line, "expr: "); ok {
			n += check("rules.yml", expr)
		}
	}
	if len(board.Panels) == 0 || n == 0 {
		t.Errorf("%d panels and %d metrics in rules were checked", len(board.Panels), n)
	}
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	promtool, err := filepath.Abs("../../.cache/root/usr/bin/promtool")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(promtool); err != nil {
		t.Skip("promtool is not here: run make setup")
	}
	cmd := exec.CommandContext(t.Context(), promtool, "test", "rules", "rules_test.yml") //nolint:gosec // our own tool
	cmd.Dir = monitoring
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
