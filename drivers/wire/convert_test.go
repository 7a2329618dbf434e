package wire

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestSpecComesBackTheSame(t *testing.T) {
	for name, spec := range map[string]drivers.ProcessSpec{
		"zero": {},
		"full": {
			Args:               []string{"/bin/sh", "-c", ""},
			Env:                []drivers.EnvVar{{Name: "A", Value: "b=c"}, {Name: "S", Secret: "token"}},
			WorkingDir:         "/srv",
			User:               "www:1000",
			SupplementalGroups: []uint32{0, math.MaxUint32},
			Terminal:           true,
			TerminalSize:       drivers.TerminalSize{Width: math.MaxUint16, Height: 1},
			Capabilities:       []string{"CAP_CHOWN"},
			NoNewPrivileges:    true,
		},
		"no capabilities is not the default ones": {Capabilities: []string{}},
	} {
		if diff := cmp.Diff(spec, ToSpec(over(t, FromSpec(spec)))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// over takes a message over the wire.
func over[T proto.Message](t testing.TB, m T) T {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	back := m.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(data, back); err != nil {
		t.Fatal(err)
	}
	return back.(T)
}

func TestExitAndStatisticsComeBackTheSame(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	for _, exit := range []drivers.ExitStatus{{}, {Code: 137, Signal: 9, OOMKilled: true, FinishedAt: at}} {
		if got := ToExit(over(t, FromExit(exit))); got != exit {
			t.Errorf("got %+v, want %+v", got, exit)
		}
	}
	use := drivers.ResourceUse{
		CPUUsec: 1, MemoryBytes: 2, MemoryLimitBytes: 3, Processes: 4,
		NetworkRxBytes: 5, NetworkTxBytes: 6, BlockReadBytes: 7, BlockWriteBytes: math.MaxUint64,
	}
	for _, stats := range []drivers.Statistics{{}, {
		Time: at, Sandbox: use, HostMemoryBytes: 8,
		Containers: map[string]drivers.ResourceUse{"web": use, "db": {}},
	}} {
		if diff := cmp.Diff(stats, ToStatistics(over(t, FromStatistics(stats)))); diff != "" {
			t.Error(diff)
		}
	}
}

func TestSizeThatDoesNotFitIsTheLargest(t *testing.T) {
	got := ToSize(&TerminalSize{Width: 1 << 20, Height: math.MaxUint32})
	if got != (drivers.TerminalSize{Width: math.MaxUint16, Height: math.MaxUint16}) {
		t.Errorf("got %+v", got)
	}
}

func TestImpossibleTimeIsNone(t *testing.T) {
	for _, m := range []*timestamppb.Timestamp{nil, {Seconds: math.MaxInt64}, {Seconds: math.MinInt64}, {Nanos: -1}} {
		if got := ToTime(m); !got.IsZero() {
			t.Errorf("%v: got %s", m, got)
		}
	}
}

// The guest may answer with anything that parses.
func FuzzAnythingFromTheGuestCanBeStored(f *testing.F) {
	for _, m := range []proto.Message{
		FromExit(drivers.ExitStatus{Code: 1, FinishedAt: time.Unix(1, 2)}),
		FromStatistics(drivers.Statistics{Time: time.Unix(1, 2), Containers: map[string]drivers.ResourceUse{"a": {}}}),
		FromSpec(drivers.ProcessSpec{Args: []string{"a"}, Capabilities: []string{}}),
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("\x22\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var exit ExitStatus
		var stats Statistics
		var spec ProcessSpec
		var values []any
		if proto.Unmarshal(data, &exit) == nil {
			values = append(values, ToExit(&exit))
		}
		if proto.Unmarshal(data, &stats) == nil {
			values = append(values, ToStatistics(&stats))
		}
		if proto.Unmarshal(data, &spec) == nil {
			values = append(values, ToSpec(&spec))
		}
		for _, v := range values {
			if _, err := json.Marshal(v); err != nil {
				t.Errorf("%#v: %v", v, err)
			}
		}
	})
}

func TestLiveComesBackTheSame(t *testing.T) {
	for name, live := range map[string]drivers.Live{
		"zero": {},
		"full": {
			Limits:      []drivers.ContainerLimits{{Container: "a", CPUMillis: 500, MemoryBytes: 1 << 40}, {Container: "b"}},
			DNS:         drivers.DNS{Nameservers: []string{"1.1.1.1"}, Searches: []string{"a.b"}, Options: []string{"ndots:2"}},
			HostAliases: []drivers.HostAlias{{IP: "10.0.0.1", Hostnames: []string{"a", "b"}}},
		},
	} {
		if diff := cmp.Diff(live, ToLive(over(t, FromLive(live)))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
