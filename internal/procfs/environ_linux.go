package procfs

import (
	"bytes"
	"os"
	"strconv"
)

// WithEnv returns this user's processes that were started with an environment
// variable of the given value: whoever sets one finds again what it started, and
// what that has started, however many parents died in between. A process that
// cannot be looked into is none.
func WithEnv(name, value string) ([]ID, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	want := []byte(name + "=" + value)
	var found []ID
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		id, err := Lookup(pid)
		if err != nil {
			continue
		}
		environ, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil {
			continue
		}
		for kv := range bytes.SplitSeq(environ, []byte{0}) {
			if bytes.Equal(kv, want) {
				found = append(found, id)
				break
			}
		}
	}
	return found, nil
}
