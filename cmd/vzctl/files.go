package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// errNoManifests means that a directory has none.
var errNoManifests = errors.New("no manifests")

// stdinFile is how a manifest from standard input is called in errors.
const stdinFile = "<stdin>"

// manifestFile is one file of manifests.
type manifestFile struct {
	// path is as the user may find it, name that in the directory given, or the
	// file's own.
	path, name string
	data       []byte
}

func addFilenames(cmd *cobra.Command, files *[]string, usage string) {
	cmd.Flags().StringArrayVarP(files, "filename", "f", nil, usage)
}

// readManifests reads files, directories with all below them, and for "-"
// standard input.
func (a *app) readManifests(paths []string) ([]manifestFile, error) {
	var files []manifestFile
	for _, path := range paths {
		if path == "-" {
			data, err := readBounded(a.stdin)
			if err != nil {
				return nil, fmt.Errorf("read standard input: %w", err)
			}
			files = append(files, manifestFile{path: stdinFile, data: data})
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			below, err := readManifestDir(path)
			if err != nil {
				return nil, err
			}
			files = append(files, below...)
			continue
		}
		file, err := readManifest(path, filepath.Base(path))
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func readManifestDir(dir string) ([]manifestFile, error) {
	var files []manifestFile
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".") && path != dir
		if d.IsDir() {
			if hidden {
				return fs.SkipDir
			}
			return nil
		}
		if !manifests.IsManifestFile(d.Name()) {
			return nil
		}
		// A named pipe in a directory would keep whoever opens it waiting; one that
		// is named by the user is meant.
		if fi, err := os.Stat(path); err != nil {
			return err
		} else if !fi.Mode().IsRegular() {
			return fmt.Errorf("%s is not a regular file", path)
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		file, err := readManifest(path, name)
		if err != nil {
			return err
		}
		files = append(files, file)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%w in %s: their names end in .yaml, .yml or .json", errNoManifests, dir)
	}
	return files, nil
}

func readManifest(path, name string) (manifestFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return manifestFile{}, err
	}
	defer f.Close()
	data, err := readBounded(f)
	if err != nil {
		return manifestFile{}, fmt.Errorf("read %s: %w", path, err)
	}
	return manifestFile{path: path, name: name, data: data}, nil
}

func readBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, manifests.MaxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > manifests.MaxFileBytes {
		return nil, fmt.Errorf("larger than %d MiB, which no manifest is", manifests.MaxFileBytes>>20)
	}
	return data, nil
}

// parseManifests parses files and joins all their errors.
func parseManifests(files []manifestFile) ([]manifests.Object, error) {
	var (
		objects []manifests.Object
		all     []error
	)
	for _, f := range files {
		objs, errs := manifests.Parse(f.path, f.data)
		objects = append(objects, objs...)
		for _, err := range errs {
			all = append(all, err)
		}
	}
	return objects, errors.Join(all...)
}
