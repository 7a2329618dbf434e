//go:build !linux

package plugins

import (
	"context"

	"github.com/vzreconciler/vzreconciler/internal/procfs"
)

func processWaiter(id procfs.ID) (func(context.Context) bool, error) {
	return func(ctx context.Context) bool { return pollProcess(ctx, id) }, nil
}
