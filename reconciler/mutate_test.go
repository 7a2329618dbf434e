package reconciler

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// mutate returns a manifest file as a slip of the hand, an editor, a full disk
// or an enemy may leave it, and what was done to it.
func mutate(r *rand.Rand, data []byte) (what string, mutant []byte) {
	ways := []struct {
		name string
		do   func(*rand.Rand, []byte) []byte
	}{
		{"bits flipped", flipBits},
		{"cut off", func(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b))] }},
		{"cut out", cutOut},
		{"a line twice", func(r *rand.Rand, b []byte) []byte { return editLine(r, b, func(l string) string { return l + l }) }},
		{"a line less", func(r *rand.Rand, b []byte) []byte { return editLine(r, b, func(string) string { return "" }) }},
		{"a line further in", func(r *rand.Rand, b []byte) []byte { return editLine(r, b, func(l string) string { return "  " + l }) }},
		{"a tab", func(r *rand.Rand, b []byte) []byte { return editLine(r, b, func(l string) string { return "\t" + l }) }},
		{"a key twice", func(r *rand.Rand, b []byte) []byte { return insert(r, b, "kind: Sandbox\n") }},
		{"deeply nested", func(r *rand.Rand, b []byte) []byte { return insert(r, b, "x: "+strings.Repeat("[", 1+r.IntN(20000))) }},
		{"deeply mapped", func(r *rand.Rand, b []byte) []byte { return insert(r, b, strings.Repeat("{a: ", 1+r.IntN(5000))) }},
		{"a huge number", func(r *rand.Rand, b []byte) []byte {
			return insert(r, b, []string{"1e999999999", strings.Repeat("9", 1+r.IntN(5000)), "-0x" + strings.Repeat("f", 70), ".inf"}[r.IntN(4)])
		}},
		{"aliases of aliases", func(r *rand.Rand, b []byte) []byte { return append([]byte(bomb(1+r.IntN(40))), b...) }},
		{"an alias of itself", func(r *rand.Rand, b []byte) []byte { return insert(r, b, "a: &a [*a]\n") }},
		{"a merge key", func(r *rand.Rand, b []byte) []byte { return insert(r, b, "<<: {kind: Pod}\n") }},
		{"no UTF-8", func(r *rand.Rand, b []byte) []byte { return insert(r, b, "\xff\xfe\xc0\x80") }},
		{"a NUL", func(r *rand.Rand, b []byte) []byte { return insert(r, b, "\x00") }},
		{"documents swapped", swapDocuments},
		{"a document more", func(r *rand.Rand, b []byte) []byte { return insert(r, b, "\n---\n") }},
		{"another's name", func(r *rand.Rand, b []byte) []byte {
			return bytes.Replace(b, []byte("name: s"), fmt.Appendf(nil, "name: s%d", r.IntN(10)), 1)
		}},
		{"CRLF", func(_ *rand.Rand, b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) }},
		{"a byte order mark", func(_ *rand.Rand, b []byte) []byte { return append([]byte("\ufeff"), b...) }},
		{"a string without an end", func(r *rand.Rand, b []byte) []byte { return insert(r, b, `"`) }},
		{"too big", func(r *rand.Rand, b []byte) []byte {
			return append(b, bytes.Repeat([]byte("# \n"), r.IntN(2*manifests.MaxFileBytes/3))...)
		}},
		{"letters swapped", func(r *rand.Rand, b []byte) []byte {
			if i := r.IntN(len(b) - 1); b[i] != '\n' && b[i+1] != '\n' {
				b[i], b[i+1] = b[i+1], b[i]
			}
			return b
		}},
	}
	way := ways[r.IntN(len(ways))]
	return way.name, way.do(r, bytes.Clone(data))
}

func flipBits(r *rand.Rand, b []byte) []byte {
	for range 1 + r.IntN(8) {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	}
	return b
}

func cutOut(r *rand.Rand, b []byte) []byte {
	from := r.IntN(len(b))
	to := from + r.IntN(len(b)-from)
	return append(b[:from], b[to:]...)
}

func editLine(r *rand.Rand, b []byte, edit func(string) string) []byte {
	lines := strings.SplitAfter(string(b), "\n")
	i := r.IntN(len(lines))
	lines[i] = edit(lines[i])
	return []byte(strings.Join(lines, ""))
}

func insert(r *rand.Rand, b []byte, text string) []byte {
	i := r.IntN(len(b) + 1)
	if r.IntN(2) == 0 { // at the begin of a line
		i = bytes.LastIndexByte(b[:i], '\n') + 1
	}
	return append(append(bytes.Clone(b[:i]), text...), b[i:]...)
}

// bomb is a document of which a reader that follows each alias makes 2^n values.
func bomb(n int) string {
	var b strings.Builder
	b.WriteString("l0: &l0 [x, x]\n")
	for i := range n {
		fmt.Fprintf(&b, "l%d: &l%d [*l%d, *l%d]\n", i+1, i+1, i, i)
	}
	return b.String()
}

func swapDocuments(r *rand.Rand, b []byte) []byte {
	docs := bytes.Split(b, []byte("---\n"))
	r.Shuffle(len(docs), func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
	return bytes.Join(docs, []byte("---\n"))
}
