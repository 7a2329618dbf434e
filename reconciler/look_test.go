package reconciler

import (
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

func TestJudge(t *testing.T) {
	key, other := sandboxKey("web"), sandboxKey("db")
	obj := func(file string) *manifests.Object {
		return &manifests.Object{Key: key, Position: manifests.Position{File: file, Line: 1, Column: 1}}
	}
	bad := func(file string, key *manifests.Key) *manifests.Error {
		return &manifests.Error{Position: manifests.Position{File: file, Line: 3, Column: 2}, Key: key, Message: "bad"}
	}
	for _, tc := range []struct {
		name     string
		snapshot source.Snapshot
		applied  string
		object   string // its file
		reason   string
		message  string
		gone     bool
	}{
		{"there", source.Snapshot{Objects: []*manifests.Object{obj("a")}, Complete: true}, "a", "a", "", "", false},
		{"there, in an incomplete look", source.Snapshot{Objects: []*manifests.Object{obj("a")}}, "a", "a", "", "", false},
		{"moved to another file", source.Snapshot{Objects: []*manifests.Object{obj("b")}, Complete: true}, "a", "b", "", "", false},
		{"gone", source.Snapshot{Complete: true}, "a", "", "", "", true},
		{"never there", source.Snapshot{Complete: true}, "", "", "", "", true},
		{"gone, in an incomplete look", source.Snapshot{}, "a", "", ReasonFileMissing, "", false},
		{"gone a moment ago", source.Snapshot{Settling: true}, "a", "", "", "", false},
		{"broken", source.Snapshot{Errors: []*manifests.Error{bad("a", &key)}, Complete: true}, "a", "", ReasonInvalidManifest, "a:3:2", false},
		{"broken and moved", source.Snapshot{Errors: []*manifests.Error{bad("b", &key)}, Complete: true}, "a", "", ReasonInvalidManifest, "b:3:2", false},
		{"its file is broken", source.Snapshot{Errors: []*manifests.Error{bad("a", nil)}, Complete: true}, "a", "", ReasonInvalidManifest, "a:3:2", false},
		{"another document of its file is broken", source.Snapshot{Errors: []*manifests.Error{bad("a", &other)}, Complete: true}, "a", "", ReasonInvalidManifest, "a:3:2", false},
		{"another file is broken", source.Snapshot{Errors: []*manifests.Error{bad("b", &other)}, Complete: true}, "a", "", "", "", true},
		{"new and broken", source.Snapshot{Errors: []*manifests.Error{bad("a", &key)}, Complete: true}, "", "", ReasonInvalidManifest, "a:3:2", false},
		{"duplicate of the applied", source.Snapshot{Objects: []*manifests.Object{obj("a"), obj("b")}, Complete: true}, "b", "b", ReasonDuplicateName, "a:1:1, b:1:1", false},
		{"duplicates elsewhere", source.Snapshot{Objects: []*manifests.Object{obj("a"), obj("b")}, Complete: true}, "c", "", ReasonDuplicateName, "what was applied stays", false},
		{"new duplicates", source.Snapshot{Objects: []*manifests.Object{obj("a"), obj("b")}, Complete: true}, "", "", ReasonDuplicateName, "none is started", false},
		{"twice in the applied file", source.Snapshot{Objects: []*manifests.Object{obj("a"), obj("a")}, Complete: true}, "a", "", ReasonDuplicateName, "", false},
		{"a broken duplicate elsewhere", source.Snapshot{Objects: []*manifests.Object{obj("a")}, Errors: []*manifests.Error{bad("b", &key)}, Complete: true}, "a", "a", ReasonDuplicateName, "b:3:2", false},
		{"the applied one broke, a copy is elsewhere", source.Snapshot{Objects: []*manifests.Object{obj("b")}, Errors: []*manifests.Error{bad("a", &key)}, Complete: true}, "a", "", ReasonDuplicateName, "a:3:2", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := indexSnapshot(tc.snapshot)
			v := x.judge(key, tc.applied)
			file, reason, message := "", "", ""
			if v.object != nil {
				file = v.object.Position.File
			}
			if v.problem != nil {
				reason, message = v.problem.Reason, v.problem.Message
			}
			if file != tc.object || reason != tc.reason || !strings.Contains(message, tc.message) || v.gone != tc.gone {
				t.Fatalf("got object %q, %s %q, gone %v; want %q, %s %q, %v",
					file, reason, message, v.gone, tc.object, tc.reason, tc.message, tc.gone)
			}
		})
	}
}

func TestPrunable(t *testing.T) {
	keys := func(names ...string) []manifests.Key {
		var ks []manifests.Key
		for _, n := range names {
			ks = append(ks, sandboxKey(n))
		}
		return ks
	}
	configs := func(names ...string) []manifests.Key {
		ks := keys(names...)
		for i := range ks {
			ks[i].Kind = manifests.KindConfigMap
		}
		return ks
	}
	for _, tc := range []struct {
		name         string
		gone         []manifests.Key
		total, limit int
		confirmed    []manifests.Key
		remove, held int
	}{
		{"all of three", keys("a", "b", "c"), 3, -1, nil, 3, 0},
		{"half of four", keys("a", "b"), 4, -1, nil, 2, 0},
		{"more than half of four", keys("a", "b", "c"), 4, -1, nil, 0, 3},
		{"all of four", keys("a", "b", "c", "d"), 4, -1, nil, 0, 4},
		{"confirmed", keys("a", "b", "c"), 4, -1, keys("a", "b", "c"), 3, 0},
		{"confirmed ones do not count", keys("a", "b", "c", "d"), 5, -1, keys("a", "b"), 4, 0},
		{"some confirmed, too many others", keys("a", "b", "c", "d"), 5, 1, keys("a"), 1, 3},
		{"limit 0 holds each", keys("a"), 9, 0, nil, 0, 1},
		{"limit", keys("a", "b"), 2, 2, nil, 2, 0},
		{"what is no sandbox does not count", configs("a", "b", "c", "d"), 1, -1, nil, 4, 0},
		{"what went with too many is held with them", append(configs("e"), keys("a", "b", "c")...), 4, -1, nil, 0, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			confirmed := map[manifests.Key]time.Time{}
			for _, k := range tc.confirmed {
				confirmed[k] = time.Now()
			}
			weigh := func(key manifests.Key) int {
				if key.Kind == manifests.KindSandbox {
					return 1
				}
				return 0
			}
			remove, held := prunable(tc.gone, tc.total, tc.limit, confirmed, weigh)
			if len(remove) != tc.remove || len(held) != tc.held {
				t.Fatalf("remove %v, held %v", remove, held)
			}
		})
	}
}
