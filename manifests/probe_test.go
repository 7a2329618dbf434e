package manifests

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestProbesAreValidated(t *testing.T) {
	const ok = ""
	for _, c := range []struct{ probe, want string }{
		{"livenessProbe: {exec: {command: [cat, /ok]}}", ok},
		{"livenessProbe: {httpGet: {port: www}}", ok},
		{"livenessProbe: {httpGet: {port: 80, host: localhost, scheme: HTTPS, path: a, httpHeaders: [{name: Host, value: x.org}]}}", ok},
		{"startupProbe: {tcpSocket: {port: 65535}, failureThreshold: 30, terminationGracePeriodSeconds: 1}", ok},
		{"readinessProbe: {grpc: {port: 80, service: a.B}, successThreshold: 2, initialDelaySeconds: 5}", ok},

		{"livenessProbe: {}", "livenessProbe: must have one of exec, httpGet, tcpSocket and grpc"},
		{"livenessProbe: {exec: {command: [a]}, tcpSocket: {port: 1}}", "must have one of exec"},
		{"livenessProbe: {exec: {}}", "livenessProbe.exec.command: required: the program to run"},
		{"livenessProbe: {exec: {command: ['']}}", "livenessProbe.exec.command: required"},
		{"livenessProbe: {httpGet: {port: 0}}", "livenessProbe.httpGet.port: must be between 1 and 65535"},
		{"livenessProbe: {httpGet: {}}", "livenessProbe.httpGet.port: must be between 1 and 65535"},
		{"livenessProbe: {httpGet: {port: ww}}", `livenessProbe.httpGet.port: the container has no port named "ww" (did you mean "www"?)`},
		{"livenessProbe: {tcpSocket: {port: dns}}", "livenessProbe.tcpSocket.port: port dns is not TCP"},
		{"livenessProbe: {tcpSocket: {port: 1, host: example.org}}", "x.yaml:10:52: Sandbox default/web: spec.podTemplate.spec.containers[0].livenessProbe.tcpSocket.host: is not supported yet"},
		{"livenessProbe: {httpGet: {port: 1, host: 10.0.0.1}}", "livenessProbe.httpGet.host: is not supported yet"},
		{"livenessProbe: {httpGet: {port: 1, scheme: http}}", `scheme: must be HTTP or HTTPS (did you mean "HTTP"?)`},
		{"livenessProbe: {httpGet: {port: 1, httpHeaders: [{name: 'a b', value: c}]}}", "httpHeaders[0].name: a valid HTTP header"},
		{"livenessProbe: {httpGet: {port: 1, httpHeaders: [{name: a, value: \"b\\nc\"}]}}", "httpHeaders[0].value: must be one line"},
		{"livenessProbe: {httpGet: {port: 1, path: \"/a\\nb\"}}", "httpGet.path: must be one line"},
		{"livenessProbe: {grpc: {port: 65536}}", "livenessProbe.grpc.port: must be between"},
		{"livenessProbe: {grpc: {port: 1}, periodSeconds: -1}", "livenessProbe.periodSeconds: must not be negative"},
		{"livenessProbe: {grpc: {port: 1}, successThreshold: 2}", "livenessProbe.successThreshold: must be 1"},
		{"startupProbe: {grpc: {port: 1}, successThreshold: 2}", "startupProbe.successThreshold: must be 1"},
		{"readinessProbe: {grpc: {port: 1}, terminationGracePeriodSeconds: 1}", "readinessProbe.terminationGracePeriodSeconds: must not be set"},
		{"livenessProbe: {grpc: {port: 1}, terminationGracePeriodSeconds: 0}", "0 is not between 1 and 86400"},
		{"livenessProbe: {grpc: {port: 1}, period: 1}", "x.yaml:10:42: Sandbox default/web: spec.podTemplate.spec.containers[0].livenessProbe.period: unknown field"},
	} {
		t.Run(c.probe, func(t *testing.T) {
			text := sandboxWith(map[string]string{
				"container": c.probe + "\nports: [{name: www, containerPort: 80}, {name: dns, containerPort: 53, protocol: UDP}]",
			})
			if c.want == ok {
				one(t, text)
				return
			}
			if got := messages(t, text); len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestInitContainersHaveNoProbes(t *testing.T) {
	got := messages(t, sandboxWith(map[string]string{
		"pod": "initContainers: [{name: a, image: b, readinessProbe: {tcpSocket: {port: 1}}}]",
	}))
	if len(got) != 1 || !strings.Contains(got[0], "initContainers[0].readinessProbe: must not be set") {
		t.Errorf("got %q", got)
	}
}

func TestProbeDefaultsAreKubernetes(t *testing.T) {
	s := one(t, sandboxWith(map[string]string{"container": "readinessProbe: {httpGet: {port: 80}}\nlivenessProbe: {grpc: {port: 1}}"})).Sandbox
	c := s.Spec.PodTemplate.Spec.Containers[0]
	p := c.ReadinessProbe
	if p.TimeoutSeconds != 1 || p.PeriodSeconds != 10 || p.SuccessThreshold != 1 || p.FailureThreshold != 3 || p.InitialDelaySeconds != 0 {
		t.Errorf("got %+v", p)
	}
	if p.HTTPGet.Path != "/" || p.HTTPGet.Scheme != corev1.URISchemeHTTP {
		t.Errorf("got %+v", p.HTTPGet)
	}
	if *c.LivenessProbe.GRPC.Service != "" {
		t.Errorf("got %+v", c.LivenessProbe.GRPC)
	}
}
