package edit

import (
	"errors"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/manifests"
)

func configMap(name, value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {k: " + value + "}\n"
}

func key(name string) manifests.Key {
	return manifests.Key{Kind: manifests.KindConfigMap, Namespace: "default", Name: name}
}

func TestRemoveLeavesOtherDocumentsByteIdentical(t *testing.T) {
	a, b, c := "# about a\r\n"+configMap("a", "1"), "---  # b\n"+configMap("b", "2")+"...\n", "---\n"+configMap("c", "3")+"\n\n"
	for name, want := range map[string]string{"a": b + c, "b": a + c, "c": a + b} {
		got, err := Remove("f.yaml", []byte(a+b+c), key(name))
		if err != nil || string(got) != want {
			t.Errorf("remove %s: got %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestRemoveOfTheLastDocumentLeavesNothing(t *testing.T) {
	got, err := Remove("f.yaml", []byte("# licence\n---\n"+configMap("a", "1")+"---\n"), key("a"))
	if err != nil || len(got) != 0 {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestRemoveFindsABrokenDocumentByItsName(t *testing.T) {
	broken := "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndta: {}\n"
	got, err := Remove("f.yaml", []byte(configMap("a", "1")+broken), key("b"))
	if err != nil || string(got) != configMap("a", "1") {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestRemoveRefusesWhatItCannotTellApart(t *testing.T) {
	list := "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(configMap("a", "1"), "\n", "\n  ") +
		"\n- " + strings.ReplaceAll(configMap("b", "1"), "\n", "\n  ") + "\n"
	if _, err := Remove("f.yaml", []byte(list), key("a")); !errors.Is(err, ErrShared) {
		t.Errorf("in a list: got %v, want ErrShared", err)
	}
	if _, err := Remove("f.yaml", []byte(configMap("a", "1")), key("z")); !errors.Is(err, ErrNotThere) {
		t.Errorf("absent: got %v, want ErrNotThere", err)
	}
}

func TestMerge(t *testing.T) {
	a, b := configMap("a", "1"), configMap("b", "2")
	for _, tc := range []struct{ name, old, news, want string }{
		{"into nothing", "", a, a},
		{"all anew", a, configMap("a", "9"), configMap("a", "9")},
		{"append", a, b, a + "---\n" + b},
		{"append without newline", strings.TrimSuffix(a, "\n"), b, a + "---\n" + b},
		{"replace the second", a + "---\n" + b, configMap("b", "9"), a + "---\n" + configMap("b", "9")},
		{"replace the first", "# head\n" + a + "---\n" + b, configMap("a", "9"), configMap("a", "9") + "---\n" + b},
		{"mend", "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\noops: 1\n---\n" + b, a, a + "---\n" + b},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Merge("f.yaml", []byte(tc.old), []byte(tc.news))
			if err != nil || string(got) != tc.want {
				t.Fatalf("got %q, %v\nwant %q", got, err, tc.want)
			}
		})
	}
}

func TestDocumentAndReplaceLeaveTheRestByteIdentical(t *testing.T) {
	a, c := "# about a\r\n"+configMap("a", "1"), "--- # c\n"+configMap("c", "3")+"...\n# the end"
	for name, tc := range map[string]struct{ marker, doc, edited, want string }{
		"a marker stays":          {"---\n", "# about b\n" + configMap("b", "2"), configMap("b", "9"), "---\n" + configMap("b", "9")},
		"one with blanks":         {"--- \r\n", configMap("b", "2"), configMap("b", "9"), "--- \r\n" + configMap("b", "9")},
		"one of the edited text":  {"---\n", configMap("b", "2"), "---\n# mine\n" + configMap("b", "9"), "---\n# mine\n" + configMap("b", "9")},
		"no newline at the end":   {"---\n", configMap("b", "2"), strings.TrimSuffix(configMap("b", "9"), "\n"), "---\n" + configMap("b", "9")},
		"a marker with a comment": {"", "--- # b\n" + configMap("b", "2"), "--- # b\n" + configMap("b", "9"), "--- # b\n" + configMap("b", "9")},
	} {
		t.Run(name, func(t *testing.T) {
			file := []byte(a + tc.marker + tc.doc + c)
			doc, err := Document("f.yaml", file, key("b"))
			if err != nil || string(doc) != tc.doc {
				t.Fatalf("document %q, %v; want %q", doc, err, tc.doc)
			}
			got, err := Replace("f.yaml", file, key("b"), []byte(tc.edited))
			if err != nil || string(got) != a+tc.want+c {
				t.Fatalf("replaced %q, %v; want %q", got, err, a+tc.want+c)
			}
		})
	}
	first, err := Document("f.yaml", []byte(a+c), key("a"))
	if err != nil || string(first) != a {
		t.Errorf("the first: %q, %v", first, err)
	}
	if _, err := Replace("f.yaml", []byte(a), key("z"), nil); !errors.Is(err, ErrNotThere) {
		t.Errorf("absent: %v", err)
	}
}

func FuzzReplaceByItselfChangesNothing(f *testing.F) {
	f.Add(configMap("a", "1") + "---\n" + configMap("b", "2"))
	f.Add("%YAML 1.2\n---\n" + configMap("a", "1") + "...\n--- # x\n" + configMap("b", "2"))
	f.Fuzz(func(t *testing.T, file string) {
		objects, _ := manifests.Parse("f.yaml", []byte(file))
		for _, o := range objects {
			doc, err := Document("f.yaml", []byte(file), o.Key)
			if err != nil {
				continue
			}
			got, err := Replace("f.yaml", []byte(file), o.Key, doc)
			if err != nil || string(got) != file {
				t.Fatalf("%q became %q, %v", file, got, err)
			}
		}
	})
}

func FuzzMergeLosesNothing(f *testing.F) {
	f.Add(configMap("a", "1")+"---\n"+configMap("b", "2"), configMap("c", "3"))
	f.Add("%YAML 1.2\n---\n"+configMap("a", "1"), "---\n"+configMap("a", "2"))
	f.Fuzz(func(t *testing.T, old, news string) {
		before, errs := manifests.Parse("f.yaml", []byte(old))
		added, newErrs := manifests.Parse("f.yaml", []byte(news))
		if len(errs) > 0 || len(newErrs) > 0 {
			return
		}
		merged, err := Merge("f.yaml", []byte(old), []byte(news))
		if err != nil {
			return
		}
		after, errs := manifests.Parse("f.yaml", merged)
		if len(errs) > 0 {
			t.Fatalf("%q: %v", merged, errs[0])
		}
		have := map[manifests.Key]bool{}
		for _, o := range after {
			have[o.Key] = true
		}
		for _, o := range append(before, added...) {
			if !have[o.Key] {
				t.Fatalf("%s is lost in %q", o.Key, merged)
			}
		}
	})
}
