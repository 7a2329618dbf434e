//go:build !linux

package procfs

import (
	"context"
)

func processWaiter(id ID) (func(context.Context) bool, error) {
	return func(ctx context.Context) bool { return pollProcess(ctx, id) }, nil
}
