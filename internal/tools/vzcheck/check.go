package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// checker type-checks packages as one operating system and architecture has them.
type checker struct {
	goos, goarch string // empty is the host's
	// declarations are all that is checked, of other people's packages.
	declarations bool
	packages     map[string]*types.Package
}

// listed is a package as `go list -json` tells it.
type listed struct {
	Dir        string
	ImportPath string
	Standard   bool
	DepOnly    bool
	GoFiles    []string
	CgoFiles   []string
	ImportMap  map[string]string
	Error      *struct{ Err string }
}

// check type-checks the packages that match, whole, after all that they import,
// of which only the declarations matter.
func (c *checker) check(dir string, patterns ...string) error {
	list, err := c.list(dir, patterns)
	if err != nil {
		return err
	}
	c.packages = map[string]*types.Package{"unsafe": types.Unsafe}
	matched := 0
	var errs []error
	for _, p := range list {
		if p.ImportPath == "unsafe" {
			continue
		}
		found := c.checkPackage(p)
		if p.DepOnly && p.Standard {
			// The standard library has parts that only its own compiler understands.
			continue
		}
		if !p.DepOnly {
			matched++
			if p.Error != nil {
				errs = append(errs, errors.New(p.Error.Err))
			}
		}
		errs = append(errs, found...)
	}
	if matched == 0 {
		errs = append(errs, fmt.Errorf("no package matches %q", patterns))
	}
	return errors.Join(errs...)
}

// list returns the packages and all they import, each after what it imports.
// Without -compiled and -export, cgo is not run.
func (c *checker) list(dir string, patterns []string) ([]listed, error) {
	cmd := exec.Command("go", append([]string{"list", "-e", "-deps", "-json=Dir,ImportPath,Standard,DepOnly,GoFiles,CgoFiles,ImportMap,Error"}, patterns...)...) //nolint:noctx // ends by itself
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if c.goos != "" {
		cmd.Env = append(cmd.Env, "GOOS="+c.goos, "GOARCH="+c.goarch)
	}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, errOut.String())
	}
	var list []listed
	for dec := json.NewDecoder(&out); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		list = append(list, p)
	}
}

// checkPackage adds one package.
func (c *checker) checkPackage(p listed) []error {
	var (
		fset  = token.NewFileSet()
		files []*ast.File
		errs  []error
	)
	for _, names := range [][]string{p.GoFiles, p.CgoFiles} {
		for _, name := range names {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			files = append(files, f)
		}
	}
	config := types.Config{
		FakeImportC:      true,
		IgnoreFuncBodies: p.DepOnly || c.declarations,
		Sizes:            types.SizesFor("gc", cmp.Or(c.goarch, runtime.GOARCH)),
		Importer: importer(func(path string) (*types.Package, error) {
			if mapped := p.ImportMap[path]; mapped != "" {
				path = mapped
			}
			if pkg := c.packages[path]; pkg != nil {
				return pkg, nil
			}
			return nil, fmt.Errorf("package %s is not there", path)
		}),
		Error: func(err error) { errs = append(errs, err) },
	}
	// What it returns has been told to config.Error.
	c.packages[p.ImportPath], _ = config.Check(p.ImportPath, fset, files, nil)
	return errs
}

type importer func(path string) (*types.Package, error)

func (f importer) Import(path string) (*types.Package, error) { return f(path) }
