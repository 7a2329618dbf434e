package edit

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// Errors of this package.
var (
	// ErrNotThere means that the file does not have the object, as far as can be
	// told.
	ErrNotThere = errors.New("not in the file")
	// ErrShared means that the object shares its document with others, as in a
	// List, so that only a person can edit it.
	ErrShared = errors.New("shares its document with other objects")
)

// Remove takes an object's document out of a file. What it returns is empty if
// nothing but comments would be left.
func Remove(file string, data []byte, key manifests.Key) ([]byte, error) {
	f := parse(file, data)
	i, err := f.find(key)
	if err != nil {
		return nil, err
	}
	c := f.chunks[i]
	rest := append(bytes.Clone(data[:c.start]), data[c.end:]...)
	if len(f.occupied) == 1 {
		return nil, nil
	}
	return rest, nil
}

// Document returns an object's document as it stands in a file, without the
// marker before it.
func Document(file string, data []byte, key manifests.Key) ([]byte, error) {
	f := parse(file, data)
	i, err := f.find(key)
	if err != nil {
		return nil, err
	}
	_, doc := cutMarker(f.text(i))
	return bytes.Clone(doc), nil
}

// Replace puts another document in the place of an object's. The marker before
// it, and every byte of the others, stays.
func Replace(file string, data []byte, key manifests.Key, doc []byte) ([]byte, error) {
	f := parse(file, data)
	i, err := f.find(key)
	if err != nil {
		return nil, err
	}
	marker, _ := cutMarker(f.text(i))
	if own, _ := cutMarker(doc); len(own) > 0 {
		marker = nil
	}
	c := f.chunks[i]
	out := slices.Concat(data[:c.start], marker, doc)
	if c.end < len(data) && len(doc) > 0 && doc[len(doc)-1] != '\n' {
		out = append(out, '\n')
	}
	return append(out, data[c.end:]...), nil
}

// cutMarker parts a document from the line "---" before it.
func cutMarker(text []byte) (marker, doc []byte) {
	first, rest, found := bytes.Cut(text, []byte("\n"))
	if !found || !bytes.Equal(bytes.TrimRight(first, " \t\r"), []byte("---")) {
		return nil, text
	}
	return text[:len(first)+1], rest
}

// Merge puts the documents of news into a file: each in the place of the one of
// the same object, else at the end. Documents of objects that news does not have
// stay. The file may be empty.
func Merge(file string, old, news []byte) ([]byte, error) {
	to, from := parse(file, old), parse(file, news)
	if len(to.occupied) == 0 {
		return news, nil
	}
	replaced := map[int]bool{}
	for key := range from.where {
		i, err := to.find(key)
		switch {
		case errors.Is(err, ErrNotThere):
		case errors.Is(err, ErrShared) && to.within(i, from):
			replaced[i] = true // All that share it are given anew.
		case err != nil:
			return nil, err
		default:
			replaced[i] = true
		}
	}
	if len(replaced) == len(to.occupied) {
		return news, nil
	}
	if filepath.Ext(file) == ".json" {
		return nil, fmt.Errorf("%s holds other objects, and a JSON file holds one document: choose another file name", file)
	}
	return to.splice(from), nil
}

// splice returns the file with the documents of from in it.
func (f *parsed) splice(from *parsed) []byte {
	var out []byte
	placed := map[int]bool{}
	for i, c := range f.chunks {
		text := f.data[c.start:c.end]
		fresh := from.matching(f.keys[i])
		if len(fresh) == 0 {
			out = append(out, text...)
			continue
		}
		for _, j := range fresh {
			if !placed[j] {
				placed[j] = true
				out = appendDocument(out, from.text(j))
			}
		}
	}
	for j := range from.chunks {
		if len(from.keys[j]) > 0 && !placed[j] {
			out = appendDocument(out, from.text(j))
		}
	}
	return out
}

// appendDocument appends a document, with a marker before it if it is not the
// first.
func appendDocument(out, doc []byte) []byte {
	if len(out) > 0 {
		if out[len(out)-1] != '\n' {
			out = append(out, '\n')
		}
		if first, _, _ := bytes.Cut(doc, []byte("\n")); !isMarker(first) && !bytes.HasPrefix(first, []byte("%")) {
			out = append(out, "---\n"...)
		}
	}
	out = append(out, doc...)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return out
}

// parsed is a file cut in documents, with what each of them holds.
type parsed struct {
	data   []byte
	file   string
	chunks []chunk
	// keys are the objects of each chunk, broken ones included as far as they can
	// be told.
	keys map[int][]manifests.Key
	// where is the chunk of each object; twice those that several have.
	where map[manifests.Key]int
	twice map[manifests.Key]bool
	// occupied are the chunks that hold something.
	occupied map[int]bool
}

func parse(file string, data []byte) *parsed {
	f := &parsed{
		data: data, file: file, chunks: split(data), keys: map[int][]manifests.Key{},
		where: map[manifests.Key]int{}, twice: map[manifests.Key]bool{}, occupied: map[int]bool{},
	}
	objects, errs := manifests.Parse(file, data)
	add := func(i int, key manifests.Key) {
		if slices.Contains(f.keys[i], key) {
			return
		}
		if _, ok := f.where[key]; ok {
			f.twice[key] = true
		}
		f.keys[i] = append(f.keys[i], key)
		f.where[key] = i
	}
	for _, o := range objects {
		i := f.chunkOf(o.Position.Line)
		f.occupied[i] = true
		add(i, o.Key)
	}
	for _, e := range errs {
		i := f.chunkOf(e.Line)
		f.occupied[i] = true
		if e.Key != nil {
			add(i, *e.Key)
		}
	}
	return f
}

// chunkOf returns the chunk that has a line.
func (f *parsed) chunkOf(line int) int {
	found := 0
	for i, c := range f.chunks {
		if c.line <= line {
			found = i
		}
	}
	return found
}

func (f *parsed) find(key manifests.Key) (int, error) {
	i, ok := f.where[key]
	switch {
	case !ok:
		return 0, fmt.Errorf("%s: %s is %w", f.file, key, ErrNotThere)
	case f.twice[key]:
		return i, fmt.Errorf("%s: several documents are %s: edit the file", f.file, key)
	case len(f.keys[i]) > 1:
		return i, fmt.Errorf("%s: %s %w: edit the file", f.file, key, ErrShared)
	}
	return i, nil
}

// within reports whether all objects of a chunk are in another file.
func (f *parsed) within(i int, other *parsed) bool {
	for _, key := range f.keys[i] {
		if _, ok := other.where[key]; !ok {
			return false
		}
	}
	return true
}

// matching returns the chunks that have any of the keys.
func (f *parsed) matching(keys []manifests.Key) []int {
	var found []int
	for _, key := range keys {
		if i, ok := f.where[key]; ok {
			found = append(found, i)
		}
	}
	return found
}

func (f *parsed) text(i int) []byte { return f.data[f.chunks[i].start:f.chunks[i].end] }
