package workload

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// indexes is a set of completion indexes, written "1,3-5".
type indexes map[int]struct{}

func parseIndexes(text string) indexes {
	x := indexes{}
	if text == "" {
		return x
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, ok := strings.Cut(part, "-")
		if !ok {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil {
			continue // It was written by String.
		}
		for i := from; i <= to; i++ {
			x.add(i)
		}
	}
	return x
}

func (x indexes) add(i int) { x[i] = struct{}{} }

func (x indexes) has(i int) bool {
	_, ok := x[i]
	return ok
}

func (x indexes) String() string {
	var parts []string
	all := slices.Sorted(maps.Keys(x))
	for i := 0; i < len(all); {
		j := i
		for j+1 < len(all) && all[j+1] == all[j]+1 {
			j++
		}
		first, last := strconv.Itoa(all[i]), strconv.Itoa(all[j])
		switch j - i {
		case 0:
			parts = append(parts, first)
		case 1: // as Kubernetes writes two
			parts = append(parts, first, last)
		default:
			parts = append(parts, first+"-"+last)
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}
