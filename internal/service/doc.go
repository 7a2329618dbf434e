// Package service makes the daemon a service of the host: a unit of systemd, an
// agent of launchd.
//
// A Service says what is to run; unit and propertyList turn it into a file, which
// is pure and the same on every host. Systemd and Launchd put that file where it
// belongs and call systemctl and launchctl, with a deadline on every call. Both
// leave the processes that the service started alive when it ends: sandboxes
// outlive the daemon on purpose.
//
// The package knows of no manifests and no daemon.
package service
