// Command mkimage writes the image that the examples use: a static busybox.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/vzreconciler/vzreconciler/internal/imagebuild"
)

func main() {
	out := flag.String("o", "busybox.tar", "file to write, as a docker archive")
	busybox := flag.String("busybox", "/bin/busybox", "a static busybox")
	flag.Parse()
	if err := run(context.Background(), *out, *busybox); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, busybox string) error {
	img, err := imagebuild.Busybox(ctx, busybox)
	if err != nil {
		return err
	}
	return imagebuild.WriteDockerArchive(out, "localhost/busybox:latest", img)
}
