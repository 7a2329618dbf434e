package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/volumes"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// ListVolumes implements api.Backend.
func (m *Manager) ListVolumes(_ context.Context, req *api.ListVolumesRequest) (*api.ListVolumesResponse, error) {
	list, err := m.volumes.List()
	if err != nil {
		if len(list) == 0 {
			return nil, err
		}
		// One that is damaged must not hide the others.
		m.log.Warn("list volumes", "error", err)
	}
	resp := &api.ListVolumesResponse{}
	for _, v := range list {
		if ns := req.GetNamespace(); ns != "" && ns != v.Namespace {
			continue
		}
		shown, err := m.apiVolume(v)
		if err != nil {
			return nil, err
		}
		resp.Volumes = append(resp.Volumes, shown)
	}
	return resp, nil
}

func (m *Manager) apiVolume(v volumes.Volume) (*api.Volume, error) {
	size, allocated, err := v.Usage()
	if err != nil {
		return nil, fmt.Errorf("volume %s/%s: %w", v.Namespace, v.Name, err)
	}
	policy := corev1.PersistentVolumeReclaimRetain
	if v.DeleteWithClaim {
		policy = corev1.PersistentVolumeReclaimDelete
	}
	key := claimKey(v.Namespace, v.Name)
	m.mu.Lock()
	defer m.mu.Unlock()
	return &api.Volume{
		Namespace: v.Namespace, Name: v.Name,
		RequestedBytes: v.SizeBytes, SizeBytes: size, AllocatedBytes: allocated,
		CreatedAt: timestamppb.New(v.CreatedAt), ReclaimPolicy: string(policy),
		Claimed: m.configs[key] != nil || len(m.users[key]) > 0,
		UsedBy:  m.attached.users(key),
	}, nil
}

// users lists the sandboxes whose VM has a claim's volume.
func (a attachments) users(claim manifests.Key) []string {
	var names []string
	for user := range a[claim] {
		names = append(names, user.Namespace+"/"+user.Name)
	}
	slices.Sort(names)
	return names
}

// RemoveVolume implements api.Backend.
func (m *Manager) RemoveVolume(_ context.Context, req *api.RemoveVolumeRequest) (*api.RemoveVolumeResponse, error) {
	namespace := req.GetNamespace()
	if namespace == "" {
		namespace = manifests.DefaultNamespace
	}
	key := claimKey(namespace, req.GetName())
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := m.volumes.Get(namespace, req.GetName())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("volume %s/%s: %w: \"vzctl volume list\" shows those there are", namespace, req.GetName(), drivers.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	lost, err := v.Lost()
	if err != nil {
		return nil, err
	}
	switch users := m.attached.users(key); {
	case len(users) > 0:
		return nil, fmt.Errorf("volume %s/%s: %w: it is in use by %s", v.Namespace, v.Name, drivers.ErrInvalidState, strings.Join(users, ", "))
	case !lost && (m.configs[key] != nil || len(m.users[key]) > 0):
		return nil, fmt.Errorf("volume %s/%s: %w: its claim is in the manifests: remove it there first", v.Namespace, v.Name, drivers.ErrInvalidState)
	}
	_, freed, err := v.Usage()
	if err != nil {
		return nil, err
	}
	if err := m.volumes.Remove(v.Namespace, v.Name); err != nil {
		return nil, err
	}
	m.event(key, eventNormal, "VolumeDeleted", "its volume was removed by request")
	return &api.RemoveVolumeResponse{FreedBytes: freed}, nil
}
