// Package printer writes what commands show: tables whose columns line up, with
// colour on a terminal, and objects as JSON, YAML, names or by JSONPath.
//
// What it prints may come from a guest or a stranger's manifest: in tables,
// control characters are made visible, so that no text reaches the terminal as
// a command. JSON escapes them, and JSONPath is for programs.
package printer
