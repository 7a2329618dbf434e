package reconciler

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// parallelImages is how many images of one sandbox are brought here at once.
const parallelImages = 3

// imageError marks a failure to bring an image here.
type imageError struct{ err error }

func (e *imageError) Error() string { return e.err.Error() }
func (e *imageError) Unwrap() error { return e.err }

// prepare gathers all that a boot needs: the images, the kernel, the
// configuration. What runs is not touched.
func (m *Manager) prepare(ctx context.Context, o *object, op *operation) error {
	o.mu.Lock()
	sandbox, uid, buildHash := o.record.Sandbox, o.record.UID, o.record.BuildHash
	refs := m.resolve(o)
	o.mu.Unlock()

	needs, err := m.checkRuntime(ctx, sandbox)
	if err != nil {
		return err
	}
	var found map[string]*bundle.Image
	credentials, missing := pullSecrets(sandbox, refs.secrets)
	if found, err = m.ensureImages(ctx, o, op, sandbox, needs, credentials); err != nil {
		return lacking(err, missing)
	}
	o.mu.Lock()
	o.imagesFor = buildHash
	o.stage(stageImageReady, time.Now())
	o.mu.Unlock()
	m.note(o, op, "")
	var (
		kernel kernels.Kernel
		agent  string
	)
	if needs.Kernel {
		if kernel, err = m.opts.Kernels.Get(sandbox.Spec.VM.Kernel.Name); err != nil {
			return err
		}
		if agent, err = m.agent(); err != nil {
			return err
		}
	}
	volumes, err := m.prepareVolumes(ctx, o, uid, sandbox.Claims())
	if err != nil {
		return err
	}
	interfaces, err := m.interfaces(o.key, sandbox)
	if err != nil {
		return err
	}
	cfg, secrets, err := bundle.Configuration(bundle.Input{
		Sandbox: sandbox, ConfigMaps: refs.configMaps, Secrets: refs.secrets, Volumes: volumes, Interfaces: interfaces,
		HostPaths: m.opts.HostPaths, Images: byContainer(sandbox, found), VolumeImages: byVolume(sandbox, found), Kernel: kernel, Agent: agent,
		CacheDir: m.opts.StateDir.CacheDir(), SocketDir: m.opts.SocketDir,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", drivers.ErrInvalidArgument, err)
	}
	digests := make(map[string]string, len(found))
	for ref, img := range found {
		digests[ref] = img.Digest
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.prepared = &prepared{
		spec: buildHash, config: refs.hash, live: bundle.LiveHash(sandbox), configuration: cfg, secrets: secrets,
		images: digests, runtime: m.runtimeOf(sandbox), claims: claimUses(sandbox),
	}
	return nil
}

// checkRuntime makes sure, before anything is built, that the runtime is there
// and can do what the sandbox asks for.
func (m *Manager) checkRuntime(ctx context.Context, s *manifests.Sandbox) (bundle.Needs, error) {
	runtime := m.runtimeOf(s)
	needs, err := m.opts.Runtimes.Needs(runtime)
	if err != nil {
		return needs, m.explainRuntime(s, err)
	}
	misfits := bundle.NeedMisfits(s, runtime, needs)
	if bundle.Asks(s) {
		info, err := m.opts.Runtimes.Info(ctx, runtime)
		if err != nil {
			return needs, err
		}
		misfits = append(misfits, bundle.Misfits(s, runtime, info)...)
	}
	return needs, bundle.MisfitError(misfits)
}

// ensureImages brings the images of a sandbox here and returns them by the name
// that asks for them.
func (m *Manager) ensureImages(ctx context.Context, o *object, op *operation, sandbox *manifests.Sandbox, needs bundle.Needs, secrets []images.PullSecret) (map[string]*bundle.Image, error) {
	found := map[string]*bundle.Image{}
	if !needs.Image {
		for _, c := range sandbox.AllContainers() {
			found[c.Image] = &bundle.Image{Reference: c.Image}
		}
		return found, nil
	}
	// The strictest policy of those who use an image counts for all of them.
	policies := map[string]corev1.PullPolicy{}
	for ref, policy := range sandbox.Images() {
		if p, ok := policies[ref]; !ok || p != corev1.PullAlways {
			policies[ref] = policy
		}
	}
	var g errgroup.Group
	g.SetLimit(parallelImages)
	for ref, policy := range policies {
		g.Go(func() error {
			img, err := m.opts.Images.Ensure(ctx, ref, images.EnsureOptions{
				Policy: images.PullPolicy(policy), Secrets: secrets,
				Progress: func(p images.Progress) { m.note(o, op, progressNote(ref, p)) },
			})
			if err != nil {
				return &imageError{err}
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			found[ref] = bundleImage(img)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return found, nil
}

func byContainer(s *manifests.Sandbox, found map[string]*bundle.Image) map[string]*bundle.Image {
	images := make(map[string]*bundle.Image, len(found))
	for _, c := range s.AllContainers() {
		images[c.Name] = found[c.Image]
	}
	return images
}

func byVolume(s *manifests.Sandbox, found map[string]*bundle.Image) map[string]*bundle.Image {
	images := map[string]*bundle.Image{}
	for _, v := range s.Spec.PodTemplate.Spec.Volumes {
		if v.Image != nil {
			images[v.Name] = found[v.Image.Reference]
		}
	}
	return images
}

func bundleImage(img *images.Image) *bundle.Image {
	return &bundle.Image{
		Reference: img.Reference, Digest: img.Digest, Rootfs: img.Rootfs,
		Config: bundle.ImageConfig{
			Entrypoint: img.Config.Entrypoint, Cmd: img.Config.Cmd, Env: img.Config.Env,
			User: img.Config.User, WorkingDir: img.Config.WorkingDir, StopSignal: img.Config.StopSignal,
		},
	}
}

// progressNote tells in steps of a tenth how far a pull is: each new note is a
// new status for all who watch.
func progressNote(ref string, p images.Progress) string {
	if p.Total <= 0 {
		return fmt.Sprintf("%s %s", p.Stage, ref)
	}
	return fmt.Sprintf("%s %s: %d%%", p.Stage, ref, 10*(10*p.Complete/p.Total))
}

// agent returns the path of the guest agent for this host's architecture.
func (m *Manager) agent() (string, error) {
	if path := m.opts.Agents[runtime.GOARCH]; path != "" {
		return path, nil
	}
	return "", fmt.Errorf("%w: the guest agent for %s is not installed beside the daemon: run \"make build\" or install again",
		drivers.ErrUnavailable, runtime.GOARCH)
}
