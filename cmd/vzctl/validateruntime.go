package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/plugins"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// runtimeChecker holds sandboxes against the runtimes that are installed here.
// It starts a runtime's plugin at most once, and only for a sandbox that asks
// for something that a runtime may lack.
type runtimeChecker struct {
	loader   *plugins.Loader
	launcher *plugins.Launcher
	done     func()
	found    map[string]foundRuntime
	// handlers are the runtimes of the RuntimeClasses that are known, by name.
	handlers map[string]string
}

// foundRuntime is what is known of a runtime.
type foundRuntime struct {
	plugin *plugins.Plugin
	info   drivers.Info
	asked  bool
	err    error
}

func (a *app) runtimeChecker(dirs pluginDirs) (*runtimeChecker, error) {
	l, err := a.loader(dirs)
	if err != nil {
		return nil, err
	}
	return &runtimeChecker{loader: l, done: func() {}, found: map[string]foundRuntime{}}, nil
}

func (c *runtimeChecker) close() { c.done() }

// learn takes RuntimeClasses in.
func (c *runtimeChecker) learn(objects []*manifests.Object) {
	c.handlers = map[string]string{}
	for _, o := range objects {
		if o.RuntimeClass != nil {
			c.handlers[o.Key.Name] = o.RuntimeClass.Handler
		}
	}
}

// meant is the runtime, or RuntimeClass, that a name that is none may stand for.
func (c *runtimeChecker) meant(name string) string {
	candidates := slices.Collect(maps.Keys(c.handlers))
	found, _ := c.loader.Load()
	for _, p := range found {
		if p.Kind == plugins.KindRuntime {
			candidates = append(candidates, p.Name)
		}
	}
	if meant := manifests.Closest(name, candidates); meant != "" {
		return fmt.Sprintf(" (did you mean %q?)", meant)
	}
	return ""
}

// check returns what is wrong with a sandbox for its runtime, or, if that cannot
// be told here, a warning.
func (c *runtimeChecker) check(ctx context.Context, s *manifests.Sandbox) (misfits []bundle.Misfit, warning string) {
	name, named := bundle.DefaultRuntime(), false
	if class := s.Spec.PodTemplate.Spec.RuntimeClassName; class != nil && *class != "" {
		name, named = *class, true
		if handler, ok := c.handlers[name]; ok {
			name = handler
		}
	}
	asks := bundle.Asks(s)
	if !asks && !named {
		return nil, ""
	}
	r := c.find(ctx, name, asks)
	if errors.Is(r.err, drivers.ErrNotFound) {
		return nil, fmt.Sprintf("runtime %q is not installed here%s: what only it knows was not checked", name, c.meant(name))
	}
	if r.err != nil {
		return nil, fmt.Sprintf("runtime %q cannot be asked: %v: what only it knows was not checked", name, r.err)
	}
	misfits = bundle.NeedMisfits(s, name, bundle.Needs{Image: r.plugin.Wants(plugins.NeedImage), Kernel: r.plugin.Wants(plugins.NeedKernel)})
	if asks {
		misfits = append(misfits, bundle.Misfits(s, name, r.info)...)
	}
	return misfits, ""
}

func (c *runtimeChecker) find(ctx context.Context, name string, ask bool) foundRuntime {
	r, ok := c.found[name]
	if ok && (r.asked || !ask || r.err != nil) {
		return r
	}
	if r.plugin, r.err = c.loader.Find(plugins.KindRuntime, name); r.err == nil && ask {
		r.asked = true
		r.info, r.err = c.describe(ctx, r.plugin)
	}
	c.found[name] = r
	return r
}

func (c *runtimeChecker) describe(ctx context.Context, p *plugins.Plugin) (drivers.Info, error) {
	if c.launcher == nil {
		var err error
		if c.launcher, _, c.done, err = launcher(); err != nil {
			c.done = func() {}
			return drivers.Info{}, err
		}
	}
	return c.launcher.Describe(ctx, p)
}

// checkRuntime adds what the runtime of a sandbox has to say, or of those that are
// made from the object, and reports whether that leaves the object valid.
func (v *validation) checkRuntime(ctx context.Context, c *runtimeChecker, f manifestFile, o manifests.Object) bool {
	s := o.Sandbox
	if t := o.Template(); t != nil {
		if made, err := manifests.PodFromTemplate(*o.Meta(), t, o.ClaimTemplates()...); err == nil {
			s = made.Sandbox
		}
	}
	if t := o.SandboxTemplate; t != nil {
		if made, err := manifests.SandboxFromBlueprint(t.ObjectMeta, &t.Spec.SandboxBlueprint); err == nil {
			s = made.Sandbox
		}
	}
	if s == nil {
		return true
	}
	misfits, warning := c.check(ctx, s)
	for _, m := range misfits {
		at, field := manifests.Locate(f.path, f.data, o, m.Field, m.Name)
		v.addError(&manifests.Error{Position: at, Key: &o.Key, Field: field, Message: m.Message})
	}
	if warning != "" {
		at, _ := manifests.Locate(f.path, f.data, o, "spec.podTemplate.spec.runtimeClassName", false)
		v.Warnings = append(v.Warnings, invalidity{Position: at, Object: o.Key.String(), Message: warning})
	}
	return len(misfits) == 0
}
