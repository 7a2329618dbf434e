package source

import (
	"testing"

	"github.com/vzreconciler/vzreconciler/manifests"
)

func TestWhatIsWrittenAsBeforeIsKeptOnce(t *testing.T) {
	const pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: "
	const spec = "}\nspec: {containers: [{name: main, image: \"example.com/app:1\"}]}\n"
	// A Secret's values are no part of what is compared.
	const secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: "
	parse := func(file, text string) []*manifests.Object {
		objects, errs := manifests.Parse(file, []byte(text))
		if len(errs) > 0 {
			t.Fatal(errs[0])
		}
		return manifests.Pointers(objects)
	}
	was := parse("/m/a.yaml", pod+"a"+spec+pod+"b"+spec+secret+"old}\n")
	now := parse("/m/a.yaml", "# moved down\n"+pod+"a"+spec+pod+"b, labels: {l: m}"+spec+secret+"new}\n")
	reuse(now, was)
	if now[0].Sandbox != was[0].Sandbox || now[0].Position.Line != was[0].Position.Line+1 {
		t.Errorf("what has only moved is in memory twice, or not where it is: %s", now[0].Position)
	}
	if now[1].Sandbox == was[1].Sandbox || now[1].Sandbox.Labels["l"] != "m" {
		t.Error("what has changed is as it was")
	}
	if got := string(now[2].Secret.Data["a"]) + now[2].Secret.StringData["a"]; got != "new" {
		t.Errorf("the Secret has %q", got)
	}
	elsewhere := parse("/n/a.yaml", pod+"a"+spec)
	reuse(elsewhere, was)
	if elsewhere[0].Sandbox == was[0].Sandbox {
		t.Error("a path in it may be relative to another directory")
	}
}
