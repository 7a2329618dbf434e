package manifests

import (
	"path/filepath"
	"strings"
)

// IsManifestFile reports whether a file of this name is read as a manifest:
// *.yaml, *.yml and *.json, but nothing hidden, and none of the files that
// editors leave beside the one being edited (x.yaml~, #x.yaml#, .#x.yaml,
// .x.yaml.swp, x.yaml.bak, 4913).
func IsManifestFile(name string) bool {
	name = filepath.Base(name)
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasPrefix(name, "~") {
		return false
	}
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}
