package service

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// unit returns a systemd unit of a name, of the system's manager or of a user's.
func unit(name string, s *Service, system bool) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	edit := "systemctl --user edit "
	if system {
		edit = "systemctl edit "
	}
	line("# Written by vzctl service install, which overwrites it. What is to stay goes")
	line("# into a drop-in: %s%s", edit, name)
	line("")
	line("[Unit]")
	line("Description=%s", specifiers(s.Description))
	if s.Documentation != "" {
		line("Documentation=%s", specifiers(s.Documentation))
	}
	if system {
		line("Wants=network-online.target")
		line("After=network-online.target")
	}
	line("")
	line("[Service]")
	line("# The daemon says when it is ready.")
	line("Type=notify")
	// The program's own path is the one word in which no variable is looked for.
	line("ExecStart=%s", strings.Join(append([]string{quote(s.Program)}, arguments(s.Args)...), " "))
	line("ExecReload=kill -HUP $MAINPID")
	if system {
		line("User=%s", cmp.Or(specifiers(s.User), "root"))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		line("Environment=%s", quote(name+"="+s.Env[name]))
	}
	if s.LogFile != "" {
		line("StandardOutput=append:%s", specifiers(s.LogFile))
		line("StandardError=append:%s", specifiers(s.LogFile))
	}
	line("# Sandboxes are processes of their own, which outlive the daemon.")
	line("KillMode=process")
	line("# A sandbox that is killed for want of memory is no reason to end the daemon.")
	line("OOMPolicy=continue")
	line("# Every sandbox has its threads: the manifests bound them.")
	line("TasksMax=infinity")
	line("Restart=always")
	line("RestartSec=5")
	line("# The command line or the configuration is wrong: once more does not help.")
	line("RestartPreventExitStatus=2")
	line("TimeoutStopSec=30")
	line("")
	line("[Install]")
	if system {
		line("WantedBy=multi-user.target")
	} else {
		line("WantedBy=default.target")
	}
	return b.String()
}

// arguments quotes the words of a command line, in which systemd replaces
// variables as well.
func arguments(words []string) []string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strings.ReplaceAll(quote(w), "$", "$$")
	}
	return quoted
}

// quote makes text one word of a unit's setting, see systemd.syntax(7).
func quote(text string) string {
	text = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(text)
	return `"` + specifiers(text) + `"`
}

// specifiers keeps systemd from replacing %h and the like.
func specifiers(text string) string { return strings.ReplaceAll(text, "%", "%%") }
