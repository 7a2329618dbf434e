package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
func validateJSON(schema, document json.RawMessage) (found []fault, err error) {
	// The library is not made for hostile input; a daemon must not fall over it.
	defer func() {
		if r := recover(); r != nil {
			found, err = nil, fmt.Errorf("it cannot be worked with: %v", r)
		}
	}()
	if len(schema) > maxSchemaBytes {
		return nil, fmt.Errorf("it has %d bytes; %d are the most", len(schema), maxSchemaBytes)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err == nil {
		err = checkNumbers(doc)
	}
	if err != nil {
		return nil, err
	}
	// An address, so that no file's name is made of it.
	const name = "runtime-data:schema"
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
	if err == nil {
		err = checkNumbers(value)
	}
	if err != nil {
		return []fault{{message: err.Error()}}, nil //nolint:nilerr // the document is at fault, not the schema
	}
	err = compiled.Validate(value)
	if invalid, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		return faults(invalid, nil), nil
	}
	return nil, err
}

// maxDigits bounds a number as it is written: far more than a float64 has.
const maxDigits = 64

// checkNumbers refuses numbers that no float64 holds: the library works with
// exact fractions, for which 1e1000000000 takes all the memory there is.
func checkNumbers(v any) error {
	switch v := v.(type) {
	case json.Number:
		f, err := strconv.ParseFloat(v.String(), 64)
		if err != nil || len(v) > maxDigits || f == 0 && strings.ContainsAny(v.String(), "eE") {
			return fmt.Errorf("the number %.64s is too large, too small or too long", v)
		}
	case []any:
		for _, item := range v {
			if err := checkNumbers(item); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, item := range v {
			if err := checkNumbers(item); err != nil {
				return err
			}
		}
	}
	return nil
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
