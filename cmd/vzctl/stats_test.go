package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

// uses returns a backend of two sandboxes; it fails after so many looks, 0 for never.
func uses(looksBeforeTheEnd int) *apitest.Backend {
	looks := 0
	start := time.Now()
	return &apitest.Backend{StatisticsFunc: func(context.Context, *api.StatisticsRequest) (*api.StatisticsResponse, error) {
		if looks++; looks > looksBeforeTheEnd && looksBeforeTheEnd > 0 {
			return nil, errors.New("that was all")
		}
		item := func(name string, n uint64) *api.SandboxStatistics {
			use := drivers.ResourceUse{CPUUsec: uint64(looks) * n * 10_000, MemoryBytes: n << 20, Processes: n, ProcessLimit: 99}
			side := use
			side.CPUUsec, side.MemoryLimitBytes = 0, 64<<20
			use.CPUPressure = &drivers.Pressure{Some: 12.5, Full: 0.5}
			use.NetworkRxPackets, use.NetworkTxErrors = 7, 2
			return &api.SandboxStatistics{
				Object: &api.Ref{Kind: "Sandbox", Namespace: "default", Name: name},
				Statistics: wire.FromStatistics(drivers.Statistics{
					Time: start.Add(time.Duration(looks) * time.Second), Sandbox: use,
					Containers: map[string]drivers.ResourceUse{"side": side, "main": use},
				}),
			}
		}
		return &api.StatisticsResponse{Items: []*api.SandboxStatistics{item("a", 1), item("c", 3), item("b", 2)}}, nil
	}}
}

func TestStatsShowContainersWithTheirOwnShare(t *testing.T) {
	out := vzctl(t, uses(0), "", "stats", "--no-stream", "--interval=100ms", "-c", "-o", "wide", "--sort-by=cpu")
	want := lines(
		`NAMESPACE   NAME   CONTAINER   CPU    MEMORY   LIMIT   MEM    PIDS   NET I/O   BLOCK I/O   HOST MEM   NET PACKETS   NET ERRORS   PIDS LIMIT   CPU PRESSURE   MEM PRESSURE   I/O PRESSURE`,
		`default     c      -           3.0%   3.0MiB   -       -      3      0B / 0B   0B / 0B     -          7 / 0         0 / 2        99           12.5% / 0.5%   -              -`,
		`default     c      main        3.0%   3.0MiB   -       -      3      -         0B / 0B     -          -             -            99           12.5% / 0.5%   -              -`,
		`default     c      side        0.0%   3.0MiB   64MiB   4.7%   3      -         0B / 0B     -          -             -            99           -              -              -`,
	)
	head := strings.Join(strings.SplitAfter(out.stdout, "\n")[:4], "")
	wantOutput(t, head, want)
}

func TestStatsAreSorted(t *testing.T) {
	for by, want := range map[string]string{"name": "a b c", "cpu": "c b a", "memory": "c b a"} {
		out := vzctl(t, uses(0), "", "stats", "--no-stream", "--interval=100ms", "--sort-by", by, "-o", "jsonpath={.items[*].name}")
		if got := strings.TrimSpace(out.stdout); got != want {
			t.Errorf("by %s: %q, want %q", by, got, want)
		}
	}
	if out := vzctl(t, uses(0), "", "stats", "--sort-by=age"); out.code != exitUsage {
		t.Errorf("%+v", out)
	}
}

func TestStatsStreamOneDocumentEachTick(t *testing.T) {
	out := vzctl(t, uses(4), "", "stats", "--interval=100ms", "-o", "json")
	dec := json.NewDecoder(strings.NewReader(out.stdout))
	documents := 0
	for {
		var list struct{ Items []usage }
		if err := dec.Decode(&list); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if documents++; len(list.Items) != 3 || list.Items[0].ContainerCPUPercent["main"] != 1 {
			t.Errorf("document %d: %+v", documents, list)
		}
	}
	if documents != 3 || out.code != exitFailed || !strings.Contains(out.stderr, "that was all") {
		t.Errorf("%d documents, code %d, %q", documents, out.code, out.stderr)
	}
}

func TestStatsWithoutATerminalRepeatPlainTables(t *testing.T) {
	out := vzctl(t, uses(3), "", "stats", "--interval=100ms")
	if n := strings.Count(out.stdout, "NAMESPACE"); n != 2 || strings.Contains(out.stdout, "\x1b") {
		t.Errorf("%d tables: %q", n, out.stdout)
	}
}

func TestScreenWritesInPlaceAndGivesTheCursorBack(t *testing.T) {
	var out bytes.Buffer
	s := &screen{w: &out, height: func() int { return 5 }}
	var rows [][]printer.Cell
	for i := range 6 {
		rows = append(rows, []printer.Cell{{Text: fmt.Sprint("row ", i)}})
	}
	frame := func() string {
		t.Helper()
		out.Reset()
		if err := s.show(rows); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	first := frame()
	if !strings.HasPrefix(first, hideCursor+noWrap+clearScreen+toTheTop) {
		t.Errorf("begins with %q", first)
	}
	// Four lines fit beside the one that the cursor is left on.
	const shown = toTheTop + "row 0" + clearLine + "\nrow 1" + clearLine + "\nrow 2" + clearLine + "\nand 3 more" + clearLine + "\n" + clearBelow
	if second := frame(); second != shown {
		t.Errorf("the second is %q, want %q", second, shown)
	}
	rows = rows[:1]
	if third := frame(); third != toTheTop+"row 0"+clearLine+"\n"+clearBelow {
		t.Errorf("the third is %q", third)
	}
	out.Reset()
	s.close()
	if out.String() != wrap+showCursor {
		t.Errorf("ends with %q", out.String())
	}
}
