package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

const (
	// maxSchemaBytes bounds a plugin's schema.
	maxSchemaBytes = 1 << 20
	// maxFaults bounds what is said of one document.
	maxFaults = 20
)

// fault is what is wrong with a document.
type fault struct {
	// at leads to the value: names of properties, indices of items.
	at []string
	// name says that the last of them should not be there at all.
	name    bool
	message string
}

// validateJSON holds a document against a plugin's schema. The error is about
// the schema.
func validateJSON(schema, document json.RawMessage) ([]fault, error) {
	if len(schema) > maxSchemaBytes {
		return nil, fmt.Errorf("it has %d bytes; %d are the most", len(schema), maxSchemaBytes)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, err
	}
	const name = "runtimedata.json"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	// Nothing but the schema itself is read: no file, no network.
	c.UseLoader(noLoader{})
	if err := c.AddResource(name, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(name)
	if err != nil {
		return nil, err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return []fault{{message: err.Error()}}, nil //nolint:nilerr // the document is at fault, not the schema
	}
	err = compiled.Validate(value)
	if invalid, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		return faults(invalid, nil), nil
	}
	return nil, err
}

type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("it refers to %s, and must be whole in itself", url)
}

// faults appends what is at the bottom of an error.
func faults(e *jsonschema.ValidationError, found []fault) []fault {
	for _, cause := range e.Causes {
		found = faults(cause, found)
	}
	if len(e.Causes) > 0 || len(found) >= maxFaults {
		return found
	}
	if extra, ok := e.ErrorKind.(*kind.AdditionalProperties); ok {
		for _, p := range extra.Properties {
			found = append(found, fault{at: append(slices.Clip(e.InstanceLocation), p), name: true, message: "unknown field"})
		}
		return found
	}
	message := "is not as the runtime wants it"
	if out := e.DetailedOutput(); out.Error != nil {
		message = out.Error.String()
	}
	return append(found, fault{at: e.InstanceLocation, message: message})
}
