package main

import (
	"strings"
	"testing"
)

func TestExplainShowsAFieldAndWhatIsBelow(t *testing.T) {
	out := command(t, "", "explain", "sandbox.spec.vm.kernel")
	wantOutput(t, out.stdout, lines(
		`KIND:     Sandbox`,
		`VERSION:  vzreconciler.dev/v1alpha1`,
		``,
		`FIELD:    kernel <Kernel>`,
		``,
		`DESCRIPTION:`,
		`    kernel to boot.`,
		``,
		`FIELDS:`,
		`  args <[]string>`,
		`    args are added to the kernel's command line, one word each.`,
		``,
		`  name <string>`,
		`    name of an installed kernel. Default: "default".`,
		`    Default: default`,
		``,
	))
	if out.code != exitDone {
		t.Errorf("code %d: %s", out.code, out.stderr)
	}
	out = command(t, "", "explain", "po.spec.containers", "--recursive")
	for _, want := range []string{"FIELD:    containers <[]Container> -required-\n", "  env <[]EnvVar>\n    name <string> -required-\n", "    requests <any> -no effect-\n"} {
		if !strings.Contains(out.stdout, want) {
			t.Errorf("there is no %q in\n%s", want, out.stdout)
		}
	}
}

func TestExplainOfWhatIsNotThere(t *testing.T) {
	for args, want := range map[string]string{
		"sandbox.spec.podTemplate.spec.container": `did you mean "containers"?`,
		"sandboks":             `did you mean "Sandbox"?`,
		"pod --api-version v2": "it is in v1",
	} {
		out := command(t, "", append([]string{"explain"}, strings.Fields(args)...)...)
		if out.code != exitUsage || !strings.Contains(out.stderr, want) {
			t.Errorf("%s: %+v", args, out)
		}
	}
}

func TestFieldsAreCompleted(t *testing.T) {
	for word, want := range map[string]string{
		"sa": "sandbox", "sandbox.spec.vm.": "sandbox.spec.vm.cpus", "pod.": "pod.spec", "nope.": "",
	} {
		words, _ := completeField(nil, nil, word)
		if got := " " + strings.Join(words, " ") + " "; want != "" && !strings.Contains(got, " "+want+" ") || want == "" && len(words) > 0 {
			t.Errorf("%s: %v", word, words)
		}
	}
}
