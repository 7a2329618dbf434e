package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/vzreconciler/vzreconciler/internal/printer"
)

// output is a command's -o: forms for people, of which the first is the default,
// and those that every command has for programs.
type output struct {
	forPeople []string
	value     string
}

// addOutput adds -o to a command. forPeople are the forms that only this command
// knows.
func (a *app) addOutput(cmd *cobra.Command, o *output, forPeople ...string) {
	o.forPeople = forPeople
	cmd.Flags().StringVarP(&o.value, "output", "o", forPeople[0], o.forms())
	a.completeFlag(cmd, "output", append(slices.Clone(forPeople), "json", "yaml", "jsonpath=")...)
}

func (o *output) forms() string {
	return strings.Join(o.forPeople, ", ") + ", json, yaml or jsonpath=TEMPLATE"
}

// format returns the form for programs that was asked for; nil if it is one for
// people.
func (o *output) format() (*printer.Format, error) {
	if slices.Contains(o.forPeople, o.value) {
		return nil, nil //nolint:nilnil // see above
	}
	format, ok, err := printer.ParseFormat(o.value)
	if err != nil {
		return nil, &usageError{err}
	}
	if !ok {
		return nil, usagef("unknown output %q: use %s", o.value, o.forms())
	}
	return &format, nil
}

// printList prints things for programs, as one list.
func printList[T any](a *app, format *printer.Format, things []T) error {
	items := make([]json.RawMessage, len(things))
	for i, thing := range things {
		var err error
		if items[i], err = toJSON(thing); err != nil {
			return err
		}
	}
	return format.List(a.stdout, items)
}

// printThing prints one thing for programs.
func (a *app) printThing(format *printer.Format, thing any) error {
	raw, err := toJSON(thing)
	if err != nil {
		return err
	}
	return format.Object(a.stdout, raw)
}

// toJSON knows the daemon's messages from other things.
func toJSON(thing any) (json.RawMessage, error) {
	if m, ok := thing.(proto.Message); ok {
		return protojson.Marshal(m)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(thing)
	return out.Bytes(), err
}
