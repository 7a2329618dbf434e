package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// podOfThree has a container that serves, one that reads what it wrote, and one
// that takes more memory than it may whenever it is asked to.
const podOfThree = `apiVersion: v1
kind: Pod
metadata:
  name: trio
  annotations: {kubectl.kubernetes.io/default-container: reader}
spec:
  terminationGracePeriodSeconds: 1
  volumes:
  - {name: shared, emptyDir: {}}
  containers:
  - name: writer
    image: docker-archive:%[1]s
    command: [sh, -c, 'echo from the writer; echo hello > /shared/file; sleep infinity & wait']
    resources: {limits: {cpu: 500m, memory: 32Mi}}
    volumeMounts: [{name: shared, mountPath: /shared}]
  - name: reader
    image: docker-archive:%[1]s
    command: [sh, -c, 'echo from the reader; sleep infinity & wait']
    volumeMounts: [{name: shared, mountPath: /data, readOnly: true}]
  - name: glutton
    image: docker-archive:%[1]s
    command: [sh, -c, 'echo from the glutton; while [ ! -e /tmp/eat ]; do sleep 0.1; done; rm /tmp/eat; tail /dev/zero']
    resources: {limits: {memory: 16Mi}}
`

func containerOf(t *testing.T, s *manifests.Sandbox, name string) corev1.ContainerStatus {
	t.Helper()
	for _, cs := range s.Status.ContainerStatuses {
		if cs.Name == name {
			return cs
		}
	}
	t.Fatalf("there is no status of container %s", name)
	return corev1.ContainerStatus{}
}

func TestContainersOfAPodShareAndStandApart(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("trio.yaml", fmt.Sprintf(podOfThree, busyboxArchive))
	before := h.waitReady("trio")

	var starts []time.Time
	for _, cs := range before.Status.ContainerStatuses {
		starts = append(starts, cs.State.Running.StartedAt.Time)
	}
	if len(starts) != 3 || starts[1].Before(starts[0]) || starts[2].Before(starts[1]) {
		t.Errorf("started at %v", starts)
	}
	h.eventually(soon, "the logs of all", func() error {
		want := "[sandbox/trio/writer] from the writer\n[sandbox/trio/reader] from the reader\n[sandbox/trio/glutton] from the glutton\n"
		if out := h.vzctlOK("logs", "trio", "--all-containers"); out != want {
			return fmt.Errorf("%q, want %q", out, want)
		}
		return nil
	})
	if out := h.vzctlOK("logs", "trio"); out != "from the reader\n" {
		t.Errorf("the log of the default container is %q", out)
	}
	if out := h.vzctlOK("logs", "trio", "-c", "writer"); out != "from the writer\n" {
		t.Errorf("the log of the writer is %q", out)
	}

	// A volume is shared, and read-only where it is mounted so.
	if out := h.vzctlOK("exec", "trio", "--", "cat", "/data/file"); out != "hello\n" {
		t.Errorf("in the volume: %q", out)
	}
	if _, errOut, code := h.vzctl("exec", "trio", "--", "touch", "/data/x"); code == 0 || !strings.Contains(errOut, "Read-only") {
		t.Errorf("touch in a read-only mount: code %d, %q", code, errOut)
	}
	// Processes, files and limits are each container's own.
	if out := h.vzctlOK("exec", "trio", "-c", "writer", "--", "sh", "-c", "ls /data 2>&1; ps | grep -c '[f]rom the reader'; true"); !strings.Contains(out, "No such file") || !strings.HasSuffix(out, "\n0\n") {
		t.Errorf("seen in the writer: %q", out)
	}
	limit := h.vzctlOK("stats", "--no-stream", "-o", "jsonpath={.items[0].containers.writer.memoryLimitBytes} {.items[0].containers.glutton.memoryLimitBytes}")
	if limit != "33554432 16777216" && limit != "33554432 16777216\n" {
		t.Errorf("limits of memory are %q", limit)
	}
	useOfCPU(t, h)

	// One that ends is started again, and nobody else notices.
	h.vzctlOK("exec", "trio", "-c", "glutton", "--", "touch", "/tmp/eat")
	after := h.waitFor("trio", "has its glutton again", func(s *manifests.Sandbox) error {
		if cs := containerOf(t, s, "glutton"); cs.RestartCount != 1 || cs.State.Running == nil {
			return errNotYet
		}
		return nil
	})
	if last := containerOf(t, after, "glutton").LastTerminationState.Terminated; last == nil || last.Reason != "OOMKilled" || last.ExitCode != 137 {
		t.Errorf("the glutton ended as %+v", last)
	}
	h.vzctlOK("kill", "trio", "-c", "writer")
	after = h.waitFor("trio", "has its writer again", func(s *manifests.Sandbox) error {
		if cs := containerOf(t, s, "writer"); cs.RestartCount != 1 || cs.State.Running == nil {
			return errNotYet
		}
		return nil
	})
	if cs := containerOf(t, after, "reader"); cs.RestartCount != 0 || !cs.State.Running.StartedAt.Equal(&containerOf(t, before, "reader").State.Running.StartedAt) {
		t.Errorf("the reader: %+v", cs)
	}
	if bootID(after) != bootID(before) {
		t.Error("the VM was started anew")
	}
}

// useOfCPU checks that a container gets half a CPU when it has no more.
func useOfCPU(t *testing.T, h *host) {
	t.Helper()
	const burn = `read a < /sys/fs/cgroup/cpu.stat; timeout 2 sh -c 'while :; do :; done'; read b < /sys/fs/cgroup/cpu.stat; echo $a $b`
	out := h.vzctlOK("exec", "trio", "-c", "writer", "--", "sh", "-c", burn)
	var from, to int
	if _, err := fmt.Sscanf(out, "usage_usec %d usage_usec %d", &from, &to); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if used := time.Duration(to-from) * time.Microsecond; used < 300*time.Millisecond || used > 1500*time.Millisecond {
		t.Errorf("used %s of CPU in two seconds, want about one", used)
	}
}

func TestInitContainersPrepareWhatTheOthersUse(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("prepared.yaml", fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: prepared}
spec:
  terminationGracePeriodSeconds: 1
  volumes:
  - {name: shared, emptyDir: {}}
  initContainers:
  - name: fetch
    image: docker-archive:%[1]s
    command: [sh, -c, 'echo fetching; if [ ! -e /shared/tried ]; then touch /shared/tried; exit 1; fi; echo one > /shared/file']
    volumeMounts: [{name: shared, mountPath: /shared}]
  - name: build
    image: docker-archive:%[1]s
    command: [sh, -c, 'echo building; echo two >> /shared/file']
    volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
  - name: main
    image: docker-archive:%[1]s
    command: [sh, -c, 'cat /shared/file; sleep infinity & wait']
    volumeMounts: [{name: shared, mountPath: /shared}]
`, busyboxArchive))
	s := h.waitReady("prepared")
	h.waitLog("prepared", "one\ntwo\n")
	inits := s.Status.InitContainerStatuses
	if len(inits) != 2 || inits[0].RestartCount != 1 || inits[1].RestartCount != 0 {
		t.Fatalf("init containers: %+v", inits)
	}
	for _, cs := range inits {
		if cs.State.Terminated == nil || cs.State.Terminated.Reason != "Completed" || !cs.Ready {
			t.Errorf("init container %s: %+v", cs.Name, cs.State)
		}
	}
	if out := h.vzctlOK("logs", "prepared", "-c", "fetch"); out != "fetching\nfetching\n" {
		t.Errorf("the log of an init container is %q", out)
	}
	// A container's restart leaves them alone, a VM's does not.
	h.vzctlOK("kill", "prepared")
	s = h.waitFor("prepared", "has its container again", func(s *manifests.Sandbox) error {
		if cs := s.Status.ContainerStatuses[0]; cs.RestartCount != 1 || cs.State.Running == nil {
			return errNotYet
		}
		return nil
	})
	if s.Status.InitContainerStatuses[0].RestartCount != 1 {
		t.Errorf("the init containers ran again: %+v", s.Status.InitContainerStatuses)
	}
	h.vzctlOK("restart", "prepared")
	h.waitReady("prepared")
	if out := h.vzctlOK("logs", "prepared", "-c", "build"); out != "building\nbuilding\n" {
		t.Errorf("the log of an init container after a restart is %q", out)
	}
}
