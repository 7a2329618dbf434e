package printer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	k8sjson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/yaml"
)

// Format is how objects are printed: "json", "yaml", or a JSONPath template.
type Format struct {
	name string
	path *jsonpath.JSONPath
}

// jsonpathPrefix comes before the template of a JSONPath format.
const jsonpathPrefix = "jsonpath="

// ParseFormat returns the format of a flag's value: "json", "yaml" or
// "jsonpath=TEMPLATE". ok is false when it is none of these.
func ParseFormat(value string) (f Format, ok bool, err error) {
	switch {
	case value == "json" || value == "yaml":
		return Format{name: value}, true, nil
	case strings.HasPrefix(value, jsonpathPrefix):
		path, err := ParseJSONPath(strings.TrimPrefix(value, jsonpathPrefix))
		if err != nil {
			return Format{}, true, err
		}
		return Format{name: jsonpathPrefix, path: path}, true, nil
	default:
		return Format{}, false, nil
	}
}

// ParseJSONPath reads a JSONPath template, in which a single path may go without
// braces and without its first dot: "{.status.phase}", ".status.phase".
func ParseJSONPath(template string) (*jsonpath.JSONPath, error) {
	if !strings.Contains(template, "{") {
		if !strings.HasPrefix(template, ".") && !strings.HasPrefix(template, "[") {
			template = "." + template
		}
		template = "{" + template + "}"
	}
	path := jsonpath.New("output").AllowMissingKeys(true)
	if err := path.Parse(template); err != nil {
		return nil, fmt.Errorf("JSONPath %q: %w", template, err)
	}
	return path, nil
}

// Object prints one object.
func (f Format) Object(w io.Writer, object json.RawMessage) error {
	switch f.name {
	case "yaml":
		out, err := yaml.JSONToYAML(object)
		if err != nil {
			return err
		}
		_, err = w.Write(out)
		return err
	case jsonpathPrefix:
		var data any
		// Whole numbers stay whole, which filters and output rely on.
		if err := k8sjson.Unmarshal(object, &data); err != nil {
			return err
		}
		return f.path.Execute(w, data)
	default:
		var out bytes.Buffer
		if err := json.Indent(&out, object, "", "    "); err != nil {
			return err
		}
		out.WriteByte('\n')
		_, err := out.WriteTo(w)
		return err
	}
}

// List prints objects as one list, with the objects in .items.
func (f Format) List(w io.Writer, objects []json.RawMessage) error {
	if objects == nil {
		objects = []json.RawMessage{}
	}
	list, err := json.Marshal(struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Metadata   struct{}          `json:"metadata"`
		Items      []json.RawMessage `json:"items"`
	}{APIVersion: "v1", Kind: "List", Items: objects})
	if err != nil {
		return err
	}
	return f.Object(w, list)
}
