package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/vzreconciler/vzreconciler/internal/agekeys"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
	"github.com/vzreconciler/vzreconciler/reconciler/source/git"
)

// kindGitRepository is what events about a Git source are about.
const kindGitRepository = "GitRepository"

// newSources returns what manifests are read from, and what answers webhooks, nil
// if nothing does.
func newSources(cfg config, stateDir bundle.StateDir, recorder *events.Recorder, log *slog.Logger) (source.Source, http.Handler, error) {
	var (
		all   []source.Source
		repos []*source.Git
	)
	if len(cfg.manifests) > 0 {
		all = append(all, source.NewDirectory(cfg.manifests, source.Options{Log: log, Resync: cfg.resync, Keys: agekeys.File(cfg.ageKey)}))
	}
	for _, s := range cfg.git {
		g := source.NewGit(source.GitOptions{
			Location: s.location, Access: s.access, Verify: s.verify,
			Interval: cmp.Or(s.interval, cfg.gitInterval), Dir: stateDir.Git(), Log: log,
			Keys:  agekeys.File(cfg.ageKey),
			Event: tellOf(s.location.String(), recorder, log),
		})
		all, repos = append(all, g), append(repos, g)
	}
	if err := source.CleanGit(stateDir.Git(), repos); err != nil {
		return nil, nil, fmt.Errorf("remove what is left of Git repositories: %w", err)
	}
	var hook http.Handler
	if cfg.hookSecret != "" {
		hook = git.Webhook(cfg.hookSecret, func() {
			for _, g := range repos {
				g.Resync()
			}
		}, log)
	}
	return source.Combine(all...), hook, nil
}

// tellOf records and logs what happens to a Git source.
func tellOf(name string, recorder *events.Recorder, log *slog.Logger) func(warning bool, reason, message string) {
	key := manifests.Key{Kind: kindGitRepository, Namespace: manifests.DefaultNamespace, Name: name}
	return func(warning bool, reason, message string) {
		typ, level := events.Normal, slog.LevelInfo
		if warning {
			typ, level = events.Warning, slog.LevelWarn
		}
		recorder.Record(key, typ, reason, message)
		log.Log(context.Background(), level, message, "object", key.String(), "reason", reason)
	}
}
