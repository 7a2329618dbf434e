// Package version tells which build this is.
package version

import "runtime/debug"

// Version is set by the linker in a release build.
var Version = ""

// String returns the version of the build, else of the module, else "dev".
func String() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
