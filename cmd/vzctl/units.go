package main

import (
	"fmt"
	"strconv"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// bytesText returns a number of bytes in the largest unit that keeps it at least 1:
// "1.5MiB".
func bytesText(n uint64) string {
	if n < 1<<10 {
		return strconv.FormatUint(n, 10) + "B"
	}
	value, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value /= 1 << 10; value < 1<<10 {
			break
		}
	}
	if value < 10 {
		return fmt.Sprintf("%.1f%s", value, unit)
	}
	return fmt.Sprintf("%.0f%s", value, unit)
}

// limitText is bytesText for numbers of which 0 means that there is none.
func limitText(n uint64) string {
	if n == 0 {
		return "-"
	}
	return bytesText(n)
}

func percent(p float64) string { return fmt.Sprintf("%.1f%%", p) }

func memoryPercent(u drivers.ResourceUse) string {
	if u.MemoryLimitBytes == 0 {
		return "-"
	}
	return percent(100 * float64(u.MemoryBytes) / float64(u.MemoryLimitBytes))
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }
