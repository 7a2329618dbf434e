// Command vzcheck type-checks the files that only a Mac can build, on any host:
// for darwin on arm64 and amd64, with cgo on, bindings to Apple's frameworks
// included. C itself is taken on trust (types.Config.FakeImportC): what is checked
// is that our calls fit the Go API, not that anything links or works.
//
//	go run ./internal/tools/vzcheck ./drivers/vz ./plugins/runtime-vz
//
// With -lookalike it also compares the exported API of a module's stand-in, in the
// given directory, with the module's own: what the stand-in has, the module must
// have just so.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	lookalike := flag.String("lookalike", "", "directory of a stand-in for github.com/Code-Hex/vz/v3")
	flag.Parse()
	if err := run(flag.Args(), *lookalike); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// module is what the stand-in stands in for.
const module = "github.com/Code-Hex/vz/v3"

func run(patterns []string, lookalike string) error {
	for _, arch := range []string{"arm64", "amd64"} {
		c := checker{goos: "darwin", goarch: arch}
		if err := c.check(".", patterns...); err != nil {
			return fmt.Errorf("darwin/%s: %w", arch, err)
		}
	}
	if lookalike == "" {
		return nil
	}
	// On arm64 it has all that it has on amd64, and more.
	real := checker{goos: "darwin", goarch: "arm64", declarations: true}
	if err := real.check(".", module); err != nil {
		return err
	}
	stand := checker{}
	if err := stand.check(lookalike, "."); err != nil {
		return fmt.Errorf("%s: %w", lookalike, err)
	}
	return compare(stand.packages[module], real.packages[module])
}
