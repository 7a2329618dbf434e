// Package metrics is the one place that names the daemon's Prometheus metrics:
// a fixed set, listed in docs/metrics.md.
//
// The reconciler tells it what happened and what is, in words of its own trade;
// names, labels, units and the removal of series of sandboxes that are gone stay
// in here. Resource use of sandboxes is asked for at each scrape, with a deadline:
// a guest that does not answer is missing from the scrape and never holds it up.
//
// Nothing is global: all belongs to the registry given to New.
package metrics
