package main

import (
	"context"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

func TestEveryOutputIsThereEverywhere(t *testing.T) {
	b := &apitest.Backend{
		StatusFunc: func(context.Context) (*api.StatusResponse, error) { return &api.StatusResponse{Version: "v9"}, nil },
		ListImagesFunc: func(context.Context) (*api.ListImagesResponse, error) {
			return &api.ListImagesResponse{Images: []*api.Image{{Reference: "a/b:1"}}}, nil
		},
		EventsFunc: func(_ context.Context, _ *api.EventsRequest, send func(*api.Event) error) error {
			return send(&api.Event{Reason: "Ready"})
		},
		StatisticsFunc: func(context.Context, *api.StatisticsRequest) (*api.StatisticsResponse, error) {
			return &api.StatisticsResponse{Items: []*api.SandboxStatistics{{Object: &api.Ref{Name: "web"}}}}, nil
		},
	}
	for _, tc := range []struct{ command, path, want string }{
		{"system status", "{.version}", "v9"},
		{"image list", "{.items[*].reference}", "a/b:1"},
		{"events", "{.items[*].reason}", "Ready"},
		{"stats --no-stream --interval=100ms", "{.items[*].name}", "web"},
		{"kernel list", "{.kind}", "List"},
		{"validate -f testdata/validate/good.yaml", "{.valid}", "true"},
	} {
		args := append([]string{"--state-dir", t.TempDir()}, strings.Fields(tc.command)...)
		if out := vzctl(t, b, "", append(args, "-o", "jsonpath="+tc.path)...); out.code != exitDone || out.stdout != tc.want {
			t.Errorf("%s: %+v, want %q", tc.command, out, tc.want)
		}
		for _, form := range []string{"json", "yaml"} {
			if out := vzctl(t, b, "", append(args, "-o", form)...); out.code != exitDone || !strings.Contains(out.stdout, tc.want) {
				t.Errorf("%s -o %s: %+v, want %q in it", tc.command, form, out, tc.want)
			}
		}
		if out := vzctl(t, b, "", append(args, "-o", "xml")...); out.code != exitUsage || !strings.Contains(out.stderr, "json, yaml or jsonpath=TEMPLATE") {
			t.Errorf("%s -o xml: %+v", tc.command, out)
		}
	}
}
