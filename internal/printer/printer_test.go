package printer_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vzreconciler/vzreconciler/internal/printer"
)

func row(texts ...string) []printer.Cell {
	var cells []printer.Cell
	for _, text := range texts {
		cells = append(cells, printer.Cell{Text: text, Color: printer.Green})
	}
	return cells
}

func want(t *testing.T, got string, lines ...string) {
	t.Helper()
	if diff := cmp.Diff(strings.Join(lines, "\n")+"\n", got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestColumnsLineUp(t *testing.T) {
	var out bytes.Buffer
	table := printer.NewTable(&out, false)
	if err := table.Write(printer.Header("A", "B", "C"), row("größe", "x", "y"), row("z", "", "")); err != nil {
		t.Fatal(err)
	}
	if err := table.Write(row("later", "wide cell", "c")); err != nil {
		t.Fatal(err)
	}
	want(t, out.String(),
		"A       B   C",
		"größe   x   y",
		"z",
		"later   wide cell   c",
	)
}

func TestColourDoesNotMoveColumns(t *testing.T) {
	var out bytes.Buffer
	if err := printer.NewTable(&out, true).Write(printer.Header("AB", "C"), row("x", "y")); err != nil {
		t.Fatal(err)
	}
	want(t, out.String(),
		"\x1b[1mAB\x1b[0m   \x1b[1mC\x1b[0m",
		"\x1b[32mx\x1b[0m    \x1b[32my\x1b[0m",
	)
}

func TestAVeryLongCellMovesItsOwnRowOnly(t *testing.T) {
	var out bytes.Buffer
	long := strings.Repeat("n", 300)
	if err := printer.NewTable(&out, false).Write(row(long, "x"), row("a", "y")); err != nil {
		t.Fatal(err)
	}
	want(t, out.String(), long+"   x", "a"+strings.Repeat(" ", 82)+"y")
}

func TestTextCannotCommandTheTerminal(t *testing.T) {
	for text, want := range map[string]string{
		"plain, größe, 日本":      "plain, größe, 日本",
		"a\x1b[2Jb":             `a\x1b[2Jb`,
		"two\nlines\r\tand tab": `two\nlines\r\tand tab`,
		"\u009b31m":             `\u009b31m`,
		"abc\u202edcba":         `abc\u202edcba`,
		"nul\x00":               `nul\x00`,
	} {
		if got := printer.Sanitize(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	var out bytes.Buffer
	if err := printer.NewTable(&out, false).Write(row("a\x1b[2J", "b")); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("got %q", out.String())
	}
}

func FuzzSanitize(f *testing.F) {
	f.Add("a\x1b[2J\xff\u202e")
	f.Fuzz(func(t *testing.T, text string) {
		got := printer.Sanitize(text)
		if strings.ContainsAny(got, "\x00\x07\x1b\n\r\u009b\u202e") {
			t.Errorf("%q became %q", text, got)
		}
		if printer.Sanitize(got) != got {
			t.Errorf("%q is not at rest", got)
		}
	})
}

func TestFormats(t *testing.T) {
	object := json.RawMessage(`{"kind":"X","n":12345678901,"list":[{"a":1,"b":"x"},{"a":2,"b":"y"}]}`)
	for format, want := range map[string]string{
		"json":                         "{\n    \"kind\": \"X\",\n    \"n\": 12345678901,\n    \"list\": [\n        {\n            \"a\": 1,\n            \"b\": \"x\"\n        },\n        {\n            \"a\": 2,\n            \"b\": \"y\"\n        }\n    ]\n}\n",
		"yaml":                         "kind: X\nlist:\n- a: 1\n  b: x\n- a: 2\n  b: \"y\"\n\"n\": 12345678901\n",
		"jsonpath={.kind}":             "X",
		"jsonpath=.n":                  "12345678901",
		"jsonpath=kind":                "X",
		"jsonpath={.list[?(@.a>1)].b}": "y",
		"jsonpath={range .list[*]}{.b}{\",\"}{end}": "x,y,",
		"jsonpath={.nope}":                          "",
	} {
		f, ok, err := printer.ParseFormat(format)
		if err != nil || !ok {
			t.Errorf("%s: %v, %v", format, ok, err)
			continue
		}
		var out bytes.Buffer
		if err := f.Object(&out, object); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if out.String() != want {
			t.Errorf("%s: got %q, want %q", format, out.String(), want)
		}
	}
}

func TestABadFormatIsNoFormat(t *testing.T) {
	if _, ok, err := printer.ParseFormat("xml"); ok || err != nil {
		t.Errorf("xml: %v, %v", ok, err)
	}
	if _, _, err := printer.ParseFormat("jsonpath={.a"); err == nil {
		t.Error("a template without its end was taken")
	}
}

func TestAnEmptyListHasItems(t *testing.T) {
	f, _, err := printer.ParseFormat("json")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := f.List(&out, nil); err != nil {
		t.Fatal(err)
	}
	var list map[string]any
	if err := json.Unmarshal(out.Bytes(), &list); err != nil || list["items"] == nil {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestColorIsForTerminalsOnly(t *testing.T) {
	if printer.WantsColor(&bytes.Buffer{}, func(string) string { return "" }) {
		t.Error("a buffer wants colour")
	}
}
