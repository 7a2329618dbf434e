package manifests

import "strings"

// Closest returns the candidate most like word, or "" when none is like it. A
// candidate that differs in case alone is closest of all; failing one spelt
// alike, the only one that the word is part of will do.
func Closest(word string, candidates []string) string {
	const longest = 64 // no name of ours is longer, and the work is bounded
	if word == "" || len(word) > longest {
		return ""
	}
	best, bestDistance := "", max(2, len(word)/3+1)
	containing, count := "", 0
	for _, c := range candidates {
		if strings.EqualFold(word, c) {
			return c
		}
		if len(c) > longest {
			continue
		}
		if len(word) >= 4 && strings.Contains(strings.ToLower(c), strings.ToLower(word)) {
			containing, count = c, count+1
		}
		if d := editDistance(strings.ToLower(word), strings.ToLower(c)); d < bestDistance && d < max(len(c), len(word))/2+1 {
			best, bestDistance = c, d
		}
	}
	if best == "" && count == 1 {
		return containing
	}
	return best
}

// editDistance counts the insertions, deletions, substitutions and swaps of
// neighbours that turn a into b.
func editDistance(a, b string) int {
	before, previous := make([]int, len(b)+1), make([]int, len(b)+1)
	current := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}
