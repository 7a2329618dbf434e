package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"strings"
	"testing"
)

func TestDriverFitsTheRealAPI(t *testing.T) {
	if err := run([]string{"../../../drivers/vz", "../../../plugins/runtime-vz"}, ""); err != nil {
		t.Error(err)
	}
}

func TestWrongCallIsFound(t *testing.T) {
	tests := map[string]string{
		"./testdata/wrong":     "wrong.go:9:75: cannot use 1 (untyped int constant) as string value in argument to vz.NewLinuxBootLoader",
		"./testdata/intelless": "darwin/amd64: ",
		"./testdata/nothing":   "directory not found",
	}
	for dir, want := range tests {
		t.Run(dir, func(t *testing.T) {
			err := run([]string{dir}, "")
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
		})
	}
}

func TestLookAlikeThatDiffersIsFound(t *testing.T) {
	const real = `package vz
		type Machine struct{ n int }
		func (*Machine) Start(opts ...string) error { return nil }
		func New(path string) (*Machine, error) { return nil, nil }
		type Mode int
		const Cached Mode = 2
		type Device interface { Name() string; hidden() }`
	tests := map[string]struct{ stand, want string }{
		"the same":         {real, ""},
		"less":             {"package vz\ntype Mode int", ""},
		"its own":          {"package vz\nfunc helper() {}", ""},
		"too much":         {"package vz\nfunc Extra() {}", "Extra"},
		"other parameter":  {"package vz\ntype Machine struct{}\nfunc New(path []byte) (*Machine, error) { return nil, nil }", "New"},
		"other method":     {"package vz\ntype Machine struct{}\nfunc (*Machine) Start() error { return nil }", "Machine.Start"},
		"other value":      {"package vz\ntype Mode int\nconst Cached Mode = 1", "Cached"},
		"other underlying": {"package vz\ntype Mode string", "Mode"},
		"other interface":  {"package vz\ntype Device interface { Name() int }", "Device.Name"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := compare(parse(t, tt.stand), parse(t, real))
			if tt.want == "" && err != nil {
				t.Errorf("error %v", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), "look-alike: "+tt.want+"\n")) {
				t.Errorf("error %v, want one about %s", err, tt.want)
			}
		})
	}
}

func parse(t *testing.T, source string) *types.Package {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "vz.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := new(types.Config).Check("vz", fset, []*ast.File{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}
