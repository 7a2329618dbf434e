package main

import (
	"encoding/json"
	"fmt"
	"strings"

	gitdiff "github.com/go-git/go-git/v5/utils/diff"
	"github.com/sergi/go-diff/diffmatchpatch"
	"sigs.k8s.io/yaml"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/diff"
)

// show prints the differences; if there are any, the result is an exit code.
func (d *differences) show(format *printer.Format) error {
	var err error
	switch {
	case format != nil:
		objects := d.objects
		if objects == nil {
			objects = []diff.Object{}
		}
		err = d.printThing(format, struct {
			Objects []diff.Object `json:"objects"`
		}{objects})
	case d.github:
		err = d.showAnnotations()
	default:
		err = d.showText()
	}
	if err == nil && len(d.objects) > 0 {
		err = exitError(exitFailed)
	}
	return err
}

func (d *differences) showText() error {
	v := diffText{color: printer.WantsColor(d.stdout, d.getenv)}
	for i := range d.objects {
		v.object(&d.objects[i])
	}
	if len(d.objects) > 0 {
		v.line(printer.Plain, 0, "", summary(d.objects))
	} else {
		v.line(printer.Plain, 0, "", "No differences.")
	}
	return d.printf("%s", v.text.String())
}

// showAnnotations shows what a reviewer should see beside the changed lines.
func (d *differences) showAnnotations() error {
	for i := range d.objects {
		o := &d.objects[i]
		level := annotationNotice
		if o.Action == diff.Delete || o.Class >= manifests.ChangeRecreate {
			level = annotationWarning
		}
		text := []string{headline(o)}
		for _, f := range o.Fields {
			text = append(text, fmt.Sprintf("%s (%s)", f.Path, f.Class))
		}
		text = append(text, remarks(o)...)
		if err := d.annotate(level, o.Position, "vzctl diff", strings.Join(text, "\n")); err != nil {
			return err
		}
	}
	return d.printf("%s\n", summary(d.objects))
}

// headline says what becomes of an object: "sandbox/web: recreate".
func headline(o *diff.Object) string {
	name := strings.ToLower(o.Kind) + "/" + o.Name
	if o.Namespace != manifests.DefaultNamespace {
		name += " in " + o.Namespace
	}
	what := string(o.Action)
	if o.Action == diff.Update {
		what = o.Class.String()
	}
	return name + ": " + what
}

// remarks are what else there is to say of an object.
func remarks(o *diff.Object) []string {
	var lines []string
	if len(o.Because) > 0 {
		lines = append(lines, "because it takes what changes from "+strings.ToLower(strings.Join(o.Because, ", ")))
	}
	if len(o.Missing) > 0 {
		lines = append(lines, "cannot be built without "+strings.ToLower(strings.Join(o.Missing, ", ")))
	}
	return append(lines, o.Notes...)
}

// summary counts: "1 to create, 2 to update (1 recreate), 1 to delete".
func summary(objects []diff.Object) string {
	count := map[string]int{}
	for i := range objects {
		count[string(objects[i].Action)]++
		if objects[i].Action == diff.Update {
			count[objects[i].Class.String()]++
		}
	}
	var parts []string
	for _, action := range []diff.Action{diff.Create, diff.Update, diff.Delete} {
		n := count[string(action)]
		if n == 0 {
			continue
		}
		part := fmt.Sprintf("%d to %s", n, action)
		if action == diff.Update {
			var classes []string
			for class := manifests.ChangeLive; class <= manifests.ChangeImmutable; class++ {
				if c := count[class.String()]; c > 0 {
					classes = append(classes, fmt.Sprintf("%d %s", c, class))
				}
			}
			part += " (" + strings.Join(classes, ", ") + ")"
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return "No differences."
	}
	return strings.Join(parts, ", ")
}

// diffText is the readable form.
type diffText struct {
	color bool
	text  strings.Builder
}

// line writes a line at a depth of indentation, which no value can break.
func (v *diffText) line(c printer.Color, depth int, mark, text string) {
	text = strings.TrimRight(mark+printer.Sanitize(text), " ")
	if v.color {
		text = printer.Paint(text, c)
	}
	fmt.Fprintf(&v.text, "%s%s\n", strings.Repeat("  ", depth), text)
}

func (v *diffText) object(o *diff.Object) {
	color := map[diff.Action]printer.Color{diff.Create: printer.Green, diff.Update: printer.Bold, diff.Delete: printer.Red}[o.Action]
	text := headline(o)
	if o.Position.File != "" {
		text += " (" + o.Position.String() + ")"
	}
	v.line(color, 0, "", text)
	for _, f := range o.Fields {
		v.field(f)
	}
	for _, text := range remarks(o) {
		v.line(printer.Yellow, 1, "", text)
	}
	v.text.WriteByte('\n')
}

func (v *diffText) field(f manifests.FieldChange) {
	v.line(printer.Plain, 1, "", f.Path+": "+f.Class.String())
	was, is := valueLines(f.Old), valueLines(f.New)
	if len(was) < 2 || len(is) < 2 {
		for _, line := range was {
			v.line(printer.Red, 2, "- ", line)
		}
		for _, line := range is {
			v.line(printer.Green, 2, "+ ", line)
		}
		return
	}
	v.lines(was, is)
}

// contextLines is how many lines around a changed one are shown.
const contextLines = 2

// lines shows how several lines differ.
func (v *diffText) lines(was, is []string) {
	parts := gitdiff.Do(strings.Join(was, "\n")+"\n", strings.Join(is, "\n")+"\n")
	for i, part := range parts {
		lines := strings.Split(strings.TrimSuffix(part.Text, "\n"), "\n")
		switch part.Type {
		case diffmatchpatch.DiffDelete:
			for _, line := range lines {
				v.line(printer.Red, 2, "- ", line)
			}
		case diffmatchpatch.DiffInsert:
			for _, line := range lines {
				v.line(printer.Green, 2, "+ ", line)
			}
		default:
			before, after := lines, []string(nil)
			switch first, last := i == 0, i == len(parts)-1; {
			case first && len(lines) > contextLines:
				before, after = nil, lines[len(lines)-contextLines:]
			case last && len(lines) > contextLines:
				before = lines[:contextLines]
			case len(lines) > 2*contextLines:
				before, after = lines[:contextLines], lines[len(lines)-contextLines:]
			}
			for _, line := range before {
				v.line(printer.Plain, 2, "  ", line)
			}
			if len(before)+len(after) < len(lines) {
				v.line(printer.Faint, 2, "", "…")
			}
			for _, line := range after {
				v.line(printer.Plain, 2, "  ", line)
			}
		}
	}
}

// valueLines shows a value given as JSON: text as it is, and what is more than
// that as YAML.
func valueLines(value string) []string {
	if value == "" {
		return nil
	}
	text := value
	var v any
	if err := json.Unmarshal([]byte(value), &v); err == nil {
		switch s := v.(type) {
		case string:
			if text = s; s == "" || s != strings.TrimSpace(s) && !strings.Contains(s, "\n") {
				text = value // blanks would not be seen
			}
		case map[string]any, []any:
			if y, err := yaml.JSONToYAML([]byte(value)); err == nil {
				text = string(y)
			}
		}
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}
