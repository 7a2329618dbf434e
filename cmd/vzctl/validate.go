package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/manifests"
)

func (a *app) validateCmd() *cobra.Command {
	var (
		paths []string
		out   output
		dirs  pluginDirs
		sops  sopsKeys
	)
	cmd := &cobra.Command{
		Use:   "validate -f FILE…",
		Short: "Check manifests, without a daemon",
		Long: `Check manifests as the daemon would and report every error with its file, line
and column. Fields that are accepted and have no effect here are warned of. With
-o github, a workflow shows errors and warnings beside the lines they are about.

Exit codes: 0 all are valid, 1 one is not, or cannot be read, 2 usage.

What a sandbox asks of its runtime (runtimeData, pausing, several containers, …)
is held against the plugin if it is installed here; if not, that is a warning.

A Secret that SOPS has encrypted is checked, but for its values; with
--sops-age-key-file it is decrypted, and its MAC verified.`,
		Example: `  vzctl validate -f web.yaml
  vzctl validate -f manifests/ -o json
  vzctl validate -f manifests/ -o github
  vzctl validate manifests/*.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := out.format()
			if err != nil {
				return err
			}
			paths = append(paths, args...)
			if len(paths) == 0 {
				return usagef("say what to check: -f FILE, -f DIR or -f -")
			}
			files, err := a.readManifests(paths)
			if err != nil {
				return err
			}
			keys, err := sops.keys()
			if err != nil {
				return err
			}
			checker, err := a.runtimeChecker(dirs)
			if err != nil {
				return err
			}
			defer checker.close()
			v := validate(cmd.Context(), files, keys, checker)
			switch {
			case format != nil:
				err = a.printThing(format, v)
			case out.value == "github":
				err = v.annotate(a)
			default:
				err = v.writeText(a, files)
			}
			if err != nil {
				return err
			}
			if !v.Valid {
				return exitError(exitFailed)
			}
			return nil
		},
	}
	addFilenames(cmd, &paths, "file or directory of manifests, or - for standard input; may be repeated")
	a.addOutput(cmd, &out, "text", "github")
	dirs.addTo(cmd)
	sops.addTo(cmd)
	return cmd
}

// validation is what was found in manifests.
type validation struct {
	Valid    bool               `json:"valid"`
	Objects  []validObject      `json:"objects"`
	Errors   []invalidity       `json:"errors"`
	Warnings []invalidity       `json:"warnings"`
	found    []manifests.Key    // keys of Objects
	errs     []*manifests.Error // of Errors
}

type validObject struct {
	manifests.Position
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	// Encrypted says that its values were not looked at, for want of a key.
	Encrypted bool `json:"encrypted,omitempty"`
}

// invalidity is an error or a warning.
type invalidity struct {
	manifests.Position
	Object     string `json:"object,omitempty"`
	Field      string `json:"field,omitempty"`
	Message    string `json:"message"`
	Suggestion string `json:"suggestion,omitempty"`
}

func validate(ctx context.Context, files []manifestFile, keys manifests.Keys, checker *runtimeChecker) validation {
	v := validation{Objects: []validObject{}, Errors: []invalidity{}, Warnings: []invalidity{}}
	var all []*manifests.Object
	parsed := make([][]manifests.Object, len(files))
	for i, f := range files {
		objects, errs := manifests.ParseWithKeys(f.path, f.data, keys)
		for _, err := range errs {
			v.addError(err)
		}
		parsed[i] = objects
		all = append(all, manifests.Pointers(objects)...)
	}
	checker.learn(all)
	circular := map[manifests.Key]bool{}
	for _, err := range manifests.DependencyCycles(all) {
		circular[*err.Key] = true
		v.addError(err)
	}
	first := map[manifests.Key]manifests.Position{}
	for i, f := range files {
		for _, o := range parsed[i] {
			if at, twice := first[o.Key]; twice {
				v.addError(&manifests.Error{Position: o.Position, Key: &o.Key, Message: "is already in " + at.String()})
				continue
			}
			first[o.Key] = o.Position
			if v.checkRuntime(ctx, checker, f, o) && !circular[o.Key] {
				v.addObject(o)
			}
		}
	}
	v.Valid = len(v.Errors) == 0
	return v
}

func (v *validation) addError(err *manifests.Error) {
	e := invalidity{Position: err.Position, Field: err.Field, Message: err.Message, Suggestion: err.Suggestion}
	if err.Key != nil {
		e.Object = err.Key.String()
	}
	v.Errors = append(v.Errors, e)
	v.errs = append(v.errs, err)
}

func (v *validation) addObject(o manifests.Object) {
	v.Objects = append(v.Objects, validObject{o.Position, o.APIVersion, o.Kind, o.Key.Namespace, o.Key.Name, o.Encrypted})
	v.found = append(v.found, o.Key)
	for _, w := range o.Warnings {
		at, message := cutPosition(o.Position, w)
		v.Warnings = append(v.Warnings, invalidity{Position: at, Object: o.Key.String(), Message: message})
	}
}

// cutPosition takes "FILE:LINE:COLUMN: " off a warning; one without is about the
// whole object.
func cutPosition(object manifests.Position, warning string) (manifests.Position, string) {
	at := manifests.Position{File: object.File}
	numbers, ok := strings.CutPrefix(warning, object.File+":")
	place, message, found := strings.Cut(numbers, ": ")
	if !ok || !found {
		return object, warning
	}
	if _, err := fmt.Sscanf(place, "%d:%d", &at.Line, &at.Column); err != nil {
		return object, warning
	}
	return at, message
}

// writeText writes an error as compilers do, with the line it is about.
func (v *validation) writeText(a *app, files []manifestFile) error {
	color := printer.WantsColor(a.stdout, a.getenv)
	paint := func(text string, c printer.Color) string {
		if !color {
			return text
		}
		return printer.Paint(text, c)
	}
	lines := map[string][]string{}
	for _, f := range files {
		lines[f.path] = strings.Split(string(f.data), "\n")
	}
	for _, err := range v.errs {
		line := ""
		if err.Key == nil || err.Key.Kind != manifests.KindSecret { // whose values are for nobody's log
			line = excerpt(lines[err.File], err.Position)
		}
		if werr := a.printf("%s\n%s", paint(printer.Sanitize(err.Error()), printer.Red), line); werr != nil {
			return werr
		}
	}
	for _, w := range v.Warnings {
		if err := a.printf("%s\n", paint(printer.Sanitize(fmt.Sprintf("%s: %s: warning: %s", w.Position, w.Object, w.Message)), printer.Yellow)); err != nil {
			return err
		}
	}
	for i, o := range v.Objects {
		note := ""
		if o.Encrypted {
			note = " as far as can be seen: its values are encrypted"
		}
		if err := a.printf("%s: %s is valid%s\n", printer.Sanitize(o.Position.String()), v.found[i], note); err != nil {
			return err
		}
	}
	if len(v.Objects)+len(v.Errors) == 0 {
		return a.printf("There is no object in these files.\n")
	}
	return nil
}

// annotate writes errors and warnings for GitHub Actions.
func (v *validation) annotate(a *app) error {
	for _, err := range v.errs {
		if perr := a.annotate(annotationError, err.Position, "vzctl validate", withoutPosition(err)); perr != nil {
			return perr
		}
	}
	for _, w := range v.Warnings {
		if err := a.annotate(annotationWarning, w.Position, "vzctl validate", w.Object+": "+w.Message); err != nil {
			return err
		}
	}
	return a.printf("%d valid, %d errors, %d warnings\n", len(v.Objects), len(v.Errors), len(v.Warnings))
}

// maxExcerpt bounds the shown part of a line.
const maxExcerpt = 160

// excerpt returns the line at a position with a caret below the column; empty
// for a position without line, or a line too long to show.
func excerpt(lines []string, p manifests.Position) string {
	if p.Line < 1 || p.Line > len(lines) {
		return ""
	}
	line := printer.Sanitize(strings.ReplaceAll(strings.TrimRight(lines[p.Line-1], "\r"), "\t", " "))
	if len(line) > maxExcerpt || strings.TrimSpace(line) == "" {
		return ""
	}
	margin := fmt.Sprintf("%5d | ", p.Line)
	text := margin + line + "\n"
	if p.Column > 0 {
		text += strings.Repeat(" ", len(margin)-2) + "| " + strings.Repeat(" ", p.Column-1) + "^\n"
	}
	return text
}
