package plugins

import (
	"os"
	"path/filepath"
	"slices"
)

// PathEnv is the environment variable that names further directories of
// plugins, separated as in PATH. The daemon and the CLI both look there.
const PathEnv = "VZ_PLUGIN_PATH"

// pluginsDir is what a directory of plugins is called in a data directory, an
// installed prefix and a build tree.
const pluginsDir = "plugins"

// SearchPath returns the directories that plugins are looked for in, for
// NewLoader: those named on a command line, those of PathEnv, "plugins" in the
// user's data directories, and then what was installed with the program whose
// directory is given: PREFIX/libexec/vzreconciler/plugins, and "plugins" beside
// it. The directories need not exist.
func SearchPath(named, data []string, program string) []string {
	dirs := slices.Concat(named, filepath.SplitList(os.Getenv(PathEnv)))
	for _, dir := range data {
		dirs = append(dirs, filepath.Join(dir, pluginsDir))
	}
	if program != "" {
		dirs = append(dirs,
			filepath.Join(filepath.Dir(program), "libexec", "vzreconciler", pluginsDir),
			filepath.Join(program, pluginsDir))
	}
	var path []string
	for _, dir := range dirs {
		if dir != "" && !slices.Contains(path, dir) {
			path = append(path, dir)
		}
	}
	return path
}
