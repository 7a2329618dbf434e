package printer_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/internal/printer"
)

func TestCustomColumns(t *testing.T) {
	columns, err := printer.ParseColumns("NAME:.a.name,NUMBERS:{.list[*].n},NONE:nope,NULL:.null,MAP:.a")
	if err != nil {
		t.Fatal(err)
	}
	row, err := columns.Row(json.RawMessage(`{"a":{"name":"x"},"list":[{"n":1},{"n":2.5}],"null":null}`))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := printer.NewTable(&out, false).Write(columns.Header(), row); err != nil {
		t.Fatal(err)
	}
	want(t, out.String(),
		"NAME   NUMBERS   NONE     NULL     MAP",
		`x      1,2.5     <none>   <none>   {"name":"x"}`,
	)
	for _, bad := range []string{"", "NAME", "NAME:", ":.a", "A:.a,", "A:{.a"} {
		if _, err := printer.ParseColumns(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestSortBy(t *testing.T) {
	for path, want := range map[string]string{
		".n":     "d c a b",
		"{.s}":   "c d b a",
		".nope":  "a b c d",
		".mixed": "b d c a",
	} {
		objects := []json.RawMessage{
			json.RawMessage(`{"id":"a","n":9,"s":"z","mixed":"x"}`), json.RawMessage(`{"id":"b","n":10,"s":"y"}`),
			json.RawMessage(`{"id":"c","n":2.5,"mixed":7}`), json.RawMessage(`{"id":"d","n":-1,"s":"m","mixed":6.5}`),
		}
		if err := printer.SortBy(objects, path); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, o := range objects {
			var v struct{ ID string }
			if err := json.Unmarshal(o, &v); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, v.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("by %s: %s, want %s", path, got, want)
		}
	}
	if printer.SortBy(nil, "{.a") == nil {
		t.Error("a template without its end was taken")
	}
}
