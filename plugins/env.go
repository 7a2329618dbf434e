package plugins

import "os"

// passedOn names what a plugin gets of the launcher's environment. Everything
// else stays behind: tokens and passwords travel in environments. The proxies'
// variables are not here, for they may hold passwords and a runtime has no
// business on the network.
func passedOn() []string {
	return []string{
		"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ",
		"TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME",
	}
}

// environment returns a plugin's environment: what is passed on, then extra as
// "NAME=VALUE".
func environment(extra []string) []string {
	var env []string
	for _, name := range passedOn() {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, extra...)
}
