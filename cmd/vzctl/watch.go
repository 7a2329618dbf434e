package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// watchObjects shows objects as they are, then every change, until ctx ends.
func (a *app) watchObjects(ctx context.Context, client *api.Client, req *api.GetRequest, out outputFormat) error {
	stream, err := client.Watch(ctx, req)
	if err != nil {
		return err
	}
	w := watcher{app: a, table: a.table(), out: out, namespaces: req.GetNamespace() == "", last: map[string]string{}}
	for {
		change, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.show(change); err != nil {
			return err
		}
	}
}

// watcher prints changes in one format.
type watcher struct {
	*app
	table      *printer.Table
	out        outputFormat
	namespaces bool
	// first holds the rows until all that was there at first is known.
	first  [][]printer.Cell
	synced bool
	// last holds the row shown last for each object: a change that no column
	// shows is not worth a row.
	last map[string]string
}

func (w *watcher) show(change *api.WatchResponse) error {
	if change.GetType() == api.WatchResponse_SYNCED {
		w.synced = true
		rows := w.first
		w.first = nil
		return w.table.Write(rows...)
	}
	if w.out.format != nil {
		return w.out.format.Object(w.stdout, json.RawMessage(change.GetObject()))
	}
	if w.out.columns != nil {
		return w.showColumns(change.GetObject())
	}
	o, err := decodeObject(change.GetObject())
	if err != nil {
		return err
	}
	if w.out.name {
		return w.printf("%s\n", o.ref())
	}
	return w.showRow(&o, change.GetType() == api.WatchResponse_DELETED)
}

func (w *watcher) showRow(o *object, deleted bool) error {
	r := rows{wide: w.out.wide, labels: w.out.labels, namespaces: w.namespaces, deleted: deleted, now: time.Now()}
	var add [][]printer.Cell
	if len(w.last) == 0 && !w.out.noHeaders {
		add = append(add, r.header(tableOf(o)))
	}
	// Without the age, of which time alone makes another.
	key, err := json.Marshal(rows{wide: w.out.wide, labels: w.out.labels, deleted: deleted}.row(o))
	if err != nil {
		return err
	}
	if w.last[o.id()] == string(key) {
		return nil
	}
	w.last[o.id()] = string(key)
	return w.add(append(add, r.row(o))...)
}

// showColumns shows the columns that the user chose.
func (w *watcher) showColumns(object json.RawMessage) error {
	row, err := w.out.columns.Row(object)
	if err != nil {
		return err
	}
	var add [][]printer.Cell
	if !w.out.noHeaders {
		add = append(add, w.out.columns.Header())
		w.out.noHeaders = true
	}
	return w.add(append(add, row)...)
}

// add writes rows once all that was there at first is known.
func (w *watcher) add(add ...[]printer.Cell) error {
	if !w.synced {
		w.first = append(w.first, add...)
		return nil
	}
	return w.table.Write(add...)
}
