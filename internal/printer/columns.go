package printer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	k8sjson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/util/jsonpath"
)

// noValue stands in a column for a field that is not there.
const noValue = "<none>"

// Columns are the columns of a table that the user chose.
type Columns []column

type column struct {
	name string
	path *jsonpath.JSONPath
}

// ParseColumns reads "NAME:.metadata.name,PHASE:.status.phase".
func ParseColumns(spec string) (Columns, error) {
	var columns Columns
	for part := range strings.SplitSeq(spec, ",") {
		name, template, ok := strings.Cut(part, ":")
		if !ok || name == "" || template == "" {
			return nil, fmt.Errorf("custom column %q: want NAME:.path.to.field", part)
		}
		path, err := ParseJSONPath(template)
		if err != nil {
			return nil, fmt.Errorf("custom column %s: %w", name, err)
		}
		columns = append(columns, column{name, path})
	}
	return columns, nil
}

// Header is the row of the columns' names.
func (c Columns) Header() []Cell {
	names := make([]string, len(c))
	for i, column := range c {
		names[i] = column.name
	}
	return Header(names...)
}

// Row is an object's row; several values of one column stand in one cell.
func (c Columns) Row(object json.RawMessage) ([]Cell, error) {
	var data any
	if err := k8sjson.Unmarshal(object, &data); err != nil {
		return nil, err
	}
	row := make([]Cell, len(c))
	for i, column := range c {
		results, err := column.path.FindResults(data)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", column.name, err)
		}
		var values []string
		for _, found := range results {
			for _, v := range found {
				if !v.IsValid() || v.CanInterface() && v.Interface() == nil {
					continue
				}
				var text bytes.Buffer
				if err := column.path.PrintResults(&text, []reflect.Value{v}); err != nil {
					return nil, fmt.Errorf("column %s: %w", column.name, err)
				}
				values = append(values, text.String())
			}
		}
		row[i].Text = cmp.Or(strings.Join(values, ","), noValue)
	}
	return row, nil
}

// SortBy sorts objects by the value at a JSONPath: numbers by size, anything else
// as text. Those without one come first.
func SortBy(objects []json.RawMessage, template string) error {
	path, err := ParseJSONPath(template)
	if err != nil {
		return err
	}
	keys := make([]sortKey, len(objects))
	for i, object := range objects {
		if keys[i], err = newSortKey(path, object); err != nil {
			return err
		}
	}
	slices.SortStableFunc(keys, sortKey.compare)
	for i, key := range keys {
		objects[i] = key.object
	}
	return nil
}

type sortKey struct {
	object json.RawMessage
	there  bool
	number float64
	isText bool
	text   string
}

func newSortKey(path *jsonpath.JSONPath, object json.RawMessage) (sortKey, error) {
	key := sortKey{object: object}
	var data any
	if err := k8sjson.Unmarshal(object, &data); err != nil {
		return key, err
	}
	results, err := path.FindResults(data)
	if err != nil {
		return key, err
	}
	if len(results) == 0 || len(results[0]) == 0 {
		return key, nil
	}
	key.there = true
	switch v := results[0][0].Interface().(type) {
	case int64:
		key.number = float64(v)
	case float64:
		key.number = v
	default:
		var text bytes.Buffer
		if err := path.PrintResults(&text, results[0][:1]); err != nil {
			return key, err
		}
		key.isText, key.text = true, text.String()
	}
	return key, nil
}

func (k sortKey) compare(other sortKey) int {
	rank := func(k sortKey) int {
		switch {
		case !k.there:
			return 0
		case !k.isText:
			return 1
		}
		return 2
	}
	return cmp.Or(cmp.Compare(rank(k), rank(other)), cmp.Compare(k.number, other.number), strings.Compare(k.text, other.text))
}
