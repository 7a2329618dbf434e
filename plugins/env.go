package plugins

import "os"

// passedOn names what a plugin gets of the launcher's environment. Everything
// else stays behind: tokens and passwords travel in environments. The proxies'
// variables are not here, for they may hold passwords and a runtime has no
// business on the network; nor are those that begin with VZ_, for the daemon's
// own passwords do. A plugin that needs more says so in its manifest's env.
func passedOn() []string {
	return []string{
		"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TZ", "TMPDIR",
		"XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
	}
}

// environment returns a plugin's environment: what is passed on, what it asks for
// by name, then extra as "NAME=VALUE".
func environment(asked, extra []string) []string {
	var env []string
	for _, name := range append(passedOn(), asked...) {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, extra...)
}
