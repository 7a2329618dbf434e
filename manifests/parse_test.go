package manifests

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const twoMaps = `apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data: {k: v}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b}
`

func names(objects []Object) []string {
	out := make([]string, len(objects))
	for i, o := range objects {
		out[i] = o.Key.String()
	}
	return out
}

func TestDocumentsOfAFileAreFoundHoweverItIsWritten(t *testing.T) {
	ab := []string{"ConfigMap default/a", "ConfigMap default/b"}
	a := ab[:1]
	first, _, _ := strings.Cut(twoMaps, "---")
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"plain":                      {twoMaps, ab},
		"byte order mark":            {"\ufeff" + twoMaps, ab},
		"CRLF":                       {strings.ReplaceAll(twoMaps, "\n", "\r\n"), ab},
		"no final newline":           {strings.TrimSpace(twoMaps), ab},
		"markers around":             {"---\n" + twoMaps + "---\n", ab},
		"marker with comment":        {strings.Replace(twoMaps, "---", "--- # next", 1), ab},
		"marker with CR":             {strings.Replace(twoMaps, "---\n", "---\r\n", 1), ab},
		"content after marker":       {first + "--- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n", ab},
		"empty documents":            {"---\n---\n# nothing\n---\n" + twoMaps + "---\n---\nnull\n---\n~\n", ab},
		"document end":               {strings.Replace(twoMaps, "---", "...\n---", 1), ab},
		"document end alone":         {strings.Replace(twoMaps, "---", "...", 1), ab},
		"directive":                  {"%YAML 1.1\n---\n" + twoMaps, ab},
		"comment, directive":         {"# head\n%YAML 1.1\n# more\n---\n" + twoMaps, ab},
		"empty":                      {"", nil},
		"only a byte order mark":     {"\ufeff", nil},
		"only blanks":                {" \n\n\t\n", nil},
		"only comments":              {"# a\n  # b\n", nil},
		"only a marker":              {"---", nil},
		"only markers":               {"---\n---\n---\n", nil},
		"JSON":                       {"{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"ConfigMap\",\n\t\"metadata\": {\"name\": \"a\"}\n}\n", a},
		"JSON on one line":           {`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`, a},
		"List":                       {`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}},{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}]}`, ab},
		"empty List":                 {"apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\nitems: []\n", nil},
		"marker inside a text block": {strings.Replace(first, "data: {k: v}", "data:\n  k: |\n    a\n    ---\n    b", 1), a},
	} {
		t.Run(name, func(t *testing.T) {
			objects, errs := Parse("x.yaml", []byte(c.text))
			if len(errs) > 0 {
				t.Errorf("errors: %q", texts(errs))
			}
			if got := names(objects); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestOneBadDocumentCostsTheOthersNothing(t *testing.T) {
	for name, bad := range map[string]string{
		"syntax":        "a: [\nb: }\n",
		"unknown field": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\ndta: {}\n",
		"wrong type":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\ndata: 1\n",
		"invalid":       "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: BAD}\n",
		"no object":     "just text\n",
		"unclosed":      "a: \"text\n",
		"binary":        "a: \xff\x01\n",
		"NUL":           "a: \x00\n",
		"too large":     strings.Repeat("a", maxDocumentBytes) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(twoMaps, "---\n", "---\n"+bad+"---\n", 1)
			objects, errs := Parse("x.yaml", []byte(text))
			if want := []string{"ConfigMap default/a", "ConfigMap default/b"}; !slices.Equal(names(objects), want) {
				t.Errorf("got %q, want %q", names(objects), want)
			}
			if len(errs) != 1 {
				t.Errorf("want one error, got %q", texts(errs))
			}
			for _, e := range errs {
				if end := 6 + strings.Count(bad, "\n"); e.Line < 5 || e.Line > end {
					t.Errorf("the error is on line %d, the document on lines 5 to %d: %v", e.Line, end, e)
				}
			}
			if at := objects[1].Position; at.Line != 7+strings.Count(bad, "\n") || at.Column != 1 {
				t.Errorf("the document after it is at %s", at)
			}
		})
	}
}

// A broken document's object must be told: what runs of it keeps running.
func TestBrokenDocumentsTellTheirObject(t *testing.T) {
	web := "Sandbox default/web"
	for name, c := range map[string]struct{ text, want string }{
		"unclosed flow":      {"apiVersion: vzreconciler.dev/v1alpha1\nkind: Sandbox\nmetadata: {name: web}\nspec: {a: [\n", web},
		"damage before":      {"apiVersion: [\nkind: Pod\nmetadata:\n  labels: {}\n  name: web # it\nspec:\n", web},
		"namespace":          {"kind: Sandbox\nmetadata:\n  name: web\n  namespace: prod\nspec: }\n", "Sandbox prod/web"},
		"quoted":             {"kind: \"Sandbox\"\nmetadata:\n  \"name\": 'web'\nspec: }\n", web},
		"name elsewhere":     {"kind: Sandbox\nmetadata:\n  labels: {}\nspec: }\n  name: web\n", ""},
		"label called name":  {"kind: Sandbox\nmetadata: {labels: {x-name: other}, name: web}\nspec: }\n", web},
		"JSON cut off":       {"{\"apiVersion\": \"v1\",\n \"kind\": \"Pod\",\n \"metadata\": {\"name\": \"web\"},\n \"spec\": {", web},
		"JSON in one line":   {`{"kind":"Pod","metadata":{"name":"web"},"spec":{`, web},
		"cut inside a name":  {"kind: Sandbox\nmetadata: {name: we", ""},
		"cut after the name": {"kind: Sandbox\nmetadata:\n  name: web\nspec:\n  podTemplate: {", web},
		"misspelt kind":      {"apiVersion: vzreconciler.dev/v1alpha1\nkind: Sandbx\nmetadata: {name: web}\n", web},
		"missing kind":       {"apiVersion: v1\nmetadata: {name: web}\n", ""},
		"duplicate key":      {"apiVersion: v1\nkind: Pod\nkind: Pod\nmetadata: {name: web}\n", web},
		"NUL at the end":     {"kind: Sandbox\nmetadata: {name: web}\nspec: \x00\x00\x00", web},
		"no tree":            {"- a\n- b\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := Parse("x.yaml", []byte(c.text))
			if len(errs) == 0 {
				t.Fatal("no error")
			}
			got := ""
			if errs[0].Key != nil {
				got = errs[0].Key.String()
			}
			if got != c.want {
				t.Errorf("got %q, want %q: %v", got, c.want, errs[0])
			}
		})
	}
}

func TestHostileFilesAreRefused(t *testing.T) {
	laughs := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'm'; c++ {
		p := string(c - 1)
		laughs += fmt.Sprintf("%c: &%c [*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s]\n", c, c, p, p, p, p, p, p, p, p, p, p)
	}
	deepAlias := "a0: &a0 [x]\n"
	for i := 1; i < 200; i++ {
		deepAlias += fmt.Sprintf("a%d: &a%d [*a%d]\n", i, i, i-1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"large document":  {"a: " + strings.Repeat("a", maxDocumentBytes), "the document has"},
		"too large":       {strings.Repeat(" ", MaxFileBytes+1), "more than the 4194304"},
		"billion laughs":  {laughs, "counting aliases as what they stand for"},
		"deep":            {strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "nested more than 100 deep"},
		"very deep":       {strings.Repeat("[", 100_000), "exceeded"},
		"deep mappings":   {strings.Repeat("{a: ", 200) + strings.Repeat("}", 200), "nested more than 100 deep"},
		"deep by aliases": {deepAlias, "nested more than 100 deep"},
		"alias of itself": {"a: &a [*a]\n", "stands inside its own anchor"},
		"merge of itself": {"a: &a {<<: *a}\n", "stands inside its own anchor"},
		"unknown alias":   {"a: *b\n", "unknown anchor"},
		"merge of text":   {"a: {<<: b}\n", "can be merged"},
		"many documents":  {strings.Repeat("---\n{}\n", 2001), "more than 2000 documents"},
		"NUL":             {"a: \x00\n", "a NUL byte"},
		"UTF-16":          {"\xff\xfea\x00:\x00", "NUL byte"},
		"not UTF-8":       {"a: \xff\n", "not UTF-8"},
		"tab":             {"a:\n\tb: c\n", "YAML is indented with spaces"},
		"tag":             {"a: !!binary aGk=\n", "is not supported"},
		"own tag":         {"a: !exec x\n", "is not supported"},
		"infinity":        {"a: .inf\n", "is not a number"},
		"list as key":     {"? [a]\n: b\n", "a key must be a string"},
	} {
		t.Run(name, func(t *testing.T) {
			objects, errs := Parse("x.yaml", []byte(c.text))
			if len(objects) > 0 || len(errs) == 0 {
				t.Fatalf("got %d objects and %d errors", len(objects), len(errs))
			}
			if !slices.ContainsFunc(texts(errs), func(s string) bool { return strings.Contains(s, c.want) }) {
				t.Errorf("got %.300q, want %q", texts(errs)[:1], c.want)
			}
		})
	}
}

func TestAliasesAndMergeKeysAreRead(t *testing.T) {
	got := one(t, `apiVersion: v1
kind: ConfigMap
metadata: {name: a, labels: &l {a: "1", b: "2"}}
data:
  <<: *l
  b: own
  z: &z text
  w: *z
`)
	want := map[string]string{"a": "1", "b": "own", "z": "text", "w": "text"}
	if fmt.Sprint(got.ConfigMap.Data) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got.ConfigMap.Data, want)
	}
}

func TestJSONEscapesAreRead(t *testing.T) {
	got := one(t, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"\ud83d\ude00 \/ \u00e9 \\ud83d\\ude00 \t"}}`)
	if want := "\U0001F600 / é \\ud83d\\ude00 \t"; got.ConfigMap.Data["k"] != want {
		t.Errorf("got %q, want %q", got.ConfigMap.Data["k"], want)
	}
}

func TestManifestIsTheDocumentAsWritten(t *testing.T) {
	got := one(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  nodeName: m\n  containers: [{name: a, image: b, resources: {limits: {cpu: 1, memory: 1024Mi}}}]\n")
	want := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"nodeName":"m","containers":[{"name":"a","image":"b","resources":{"limits":{"cpu":1,"memory":"1024Mi"}}}]}}`
	if string(got.Manifest) != want || got.APIVersion != "v1" || got.Kind != "Pod" {
		t.Errorf("got %s %s %s", got.APIVersion, got.Kind, got.Manifest)
	}
}

func TestSecretsAreMergedAndNeverShown(t *testing.T) {
	got := one(t, `apiVersion: v1
kind: Secret
metadata: {name: s}
type: Opaque
data: {a: aHVudGVyMg==, b: b3Zlcg==}
stringData: {b: hunter3}
`)
	if a, b := string(got.Secret.Data["a"]), string(got.Secret.Data["b"]); a != "hunter2" || b != "hunter3" {
		t.Errorf("got %q and %q", a, b)
	}
	if want := `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"type":"Opaque","data":{"a":"","b":""},"stringData":{"b":""}}`; string(got.Manifest) != want {
		t.Errorf("the manifest is %s", got.Manifest)
	}
	for _, bad := range []string{
		"data: {a: hunter2}", "stringData: {a: [hunter2]}", "stringData: {a: 11223344}", "data: hunter2", "stringData: {hunter2: yes}",
		"stringData: {a: hunter2, a: hunter2}", "data: {a: !hunter hunter2}", "stringData: {a: !!int hunter2}",
	} {
		_, errs := Parse("x.yaml", []byte("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"+bad))
		if len(errs) == 0 {
			t.Errorf("%s: no error", bad)
		}
		for _, e := range errs {
			if strings.Contains(e.Message, "hunter2") || strings.Contains(e.Message, "11223344") {
				t.Errorf("the error shows the value: %v", e)
			}
		}
	}
}

func TestManifestFilesAreToldFromEditorsDroppings(t *testing.T) {
	for name, want := range map[string]bool{
		"a.yaml": true, "a.yml": true, "a.json": true, "dir/a.b.yaml": true, "A.yaml": true,
		".a.yaml": false, "a.yaml~": false, "#a.yaml#": false, ".#a.yaml": false, ".a.yaml.swp": false, "a.yaml.swp": false,
		"a.yaml.bak": false, "4913": false, "a.yaml.tmp": false, "a": false, "": false, ".": false, "yaml": false,
		"a.yaml.orig": false, "~a.yaml": false, "a.txt": false, "..data": false, ".yaml": false, "#a.yaml": false,
	} {
		if got := IsManifestFile(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}

func TestManifestIsValidJSON(t *testing.T) {
	got := one(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: \"\\u2028<&>\\x01\\e\"}\n")
	var back struct{ Data map[string]string }
	if err := json.Unmarshal(got.Manifest, &back); err != nil || back.Data["k"] != got.ConfigMap.Data["k"] {
		t.Errorf("%v: %q", err, back.Data)
	}
}
