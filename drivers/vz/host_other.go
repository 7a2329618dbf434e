//go:build vzlookalike && !darwin

package vz

// hostVersion says that machines run on no real framework.
func hostVersion() string { return "look-alike of Virtualization.framework" }

// hostObstacle finds none: the look-alike looks for itself.
func hostObstacle() error { return nil }

// hostSaves leaves it to the look-alike.
func hostSaves() error { return nil }
