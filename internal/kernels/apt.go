package kernels

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// downloaded is a kernel package that apt-get fetched, with that of its modules
// if they are apart.
type downloaded struct {
	name  string
	files []string
}

var (
	kernelPackageRE  = regexp.MustCompile(`^linux-image-(unsigned-)?[0-9][0-9A-Za-z.+~-]*$`)
	modulesPackageRE = regexp.MustCompile(`^linux-modules-[0-9][0-9A-Za-z.+~-]*$`)
	packageRE        = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
)

// fetch downloads one kernel's packages into dir. Nothing is installed: an
// installed kernel would become an entry of the host's boot loader.
func fetch(ctx context.Context, opts InstallOptions, dir string) (downloaded, error) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return downloaded{}, errors.New("this host has no apt-get to fetch a kernel with: give a Debian kernel package file or a kernel image instead")
	}
	name := opts.Package
	if name == "" {
		osRelease, err := os.ReadFile("/etc/os-release")
		if err != nil {
			return downloaded{}, fmt.Errorf("tell which distribution this is: %w", err)
		}
		if name, err = defaultPackage(string(osRelease), runtime.GOARCH); err != nil {
			return downloaded{}, err
		}
	}
	if !packageRE.MatchString(name) {
		return downloaded{}, fmt.Errorf("%q is no package name", name)
	}
	names, err := resolvePackage(name, func(name string) ([]string, error) {
		out, err := apt(ctx, "", "apt-cache", "depends", "--", name)
		if err != nil {
			return nil, fmt.Errorf("find package %s: %w: does %q help?", name, err, "apt-get update")
		}
		return parseDepends(out), nil
	})
	if err != nil {
		return downloaded{}, err
	}
	if err := state.MkdirAll(dir); err != nil {
		return downloaded{}, err
	}
	opts.Progress("Downloading " + strings.Join(names, " "))
	args := []string{"download"}
	if os.Geteuid() == 0 {
		// apt's own user could not write to a private directory.
		args = append(args, "-o", "APT::Sandbox::User=root")
	}
	if _, err := apt(ctx, dir, "apt-get", append(append(args, "--"), names...)...); err != nil {
		return downloaded{}, fmt.Errorf("download %s: %w: does %q help?", strings.Join(names, " "), err, "apt-get update")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(files) != len(names) {
		return downloaded{}, fmt.Errorf("download %s: apt-get left %d files, %d expected", strings.Join(names, " "), len(files), len(names))
	}
	return downloaded{name: names[0], files: files}, nil
}

// defaultPackage names the package of the kernel for virtual machines.
func defaultPackage(osRelease, goarch string) (string, error) {
	ids := make(map[string]bool)
	for line := range strings.Lines(osRelease) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "ID" || key == "ID_LIKE" {
			for id := range strings.FieldsSeq(strings.Trim(value, `"'`)) {
				ids[id] = true
			}
		}
	}
	switch {
	case ids["ubuntu"]:
		return "linux-image-virtual", nil
	case ids["debian"] && (goarch == "amd64" || goarch == "arm64"):
		return "linux-image-cloud-" + goarch, nil
	}
	return "", fmt.Errorf("no kernel package is known for this distribution on %s: name a package, or give a Debian kernel package file or a kernel image", goarch)
}

// resolvePackage follows a meta package to the package that holds the kernel,
// and adds that of its modules if there is one.
func resolvePackage(name string, depends func(string) ([]string, error)) ([]string, error) {
	for range 4 {
		deps, err := depends(name)
		if err != nil {
			return nil, err
		}
		if kernelPackageRE.MatchString(name) {
			if i := slices.IndexFunc(deps, modulesPackageRE.MatchString); i >= 0 {
				return []string{name, deps[i]}, nil
			}
			return []string{name}, nil
		}
		i := slices.IndexFunc(deps, kernelPackageRE.MatchString)
		if i < 0 {
			if i = slices.IndexFunc(deps, func(d string) bool { return strings.HasPrefix(d, "linux-image-") }); i < 0 {
				break
			}
		}
		name = deps[i]
	}
	return nil, fmt.Errorf("package %s does not lead to a kernel (linux-image-VERSION)", name)
}

// parseDepends reads the output of apt-cache depends.
func parseDepends(out []byte) []string {
	var deps []string
	for sc := bufio.NewScanner(bytes.NewReader(out)); sc.Scan(); {
		line := strings.TrimLeft(sc.Text(), " |")
		for _, kind := range []string{"Depends: ", "PreDepends: "} {
			if name, ok := strings.CutPrefix(line, kind); ok && packageRE.MatchString(name) {
				deps = append(deps, name)
			}
		}
	}
	return deps
}

// apt runs one of apt's programs in dir and returns what it prints.
func apt(ctx context.Context, dir, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // a fixed program; names are checked
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if msg := strings.TrimSpace(stderr.String()); msg != "" {
			lines := strings.Split(msg, "\n")
			return nil, errors.New(lines[len(lines)-1])
		}
		return nil, err
	}
	return out, nil
}
