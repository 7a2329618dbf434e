package manifests

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	maxHeaders     = 64
	maxHeaderBytes = 4096
	maxServiceName = 4096
)

func (r *report) validateProbes(at *field.Path, c *corev1.Container) {
	for _, p := range []struct {
		name  string
		probe *corev1.Probe
	}{
		{"startupProbe", c.StartupProbe}, {"livenessProbe", c.LivenessProbe}, {"readinessProbe", c.ReadinessProbe},
	} {
		if p.probe == nil {
			continue
		}
		path := at.Child(p.name)
		r.validateProbe(path, p.probe, c.Ports)
		switch readiness := p.probe == c.ReadinessProbe; {
		case !readiness && p.probe.SuccessThreshold != 1:
			r.errorf(path.Child("successThreshold"), "must be 1: one success is enough for a %s", p.name)
		case readiness && p.probe.TerminationGracePeriodSeconds != nil:
			r.errorf(path.Child("terminationGracePeriodSeconds"), "must not be set: a readinessProbe ends nothing")
		}
	}
}

// refuseProbes checks that init containers have none.
func (r *report) refuseProbes(path *field.Path, inits []corev1.Container) {
	for i, c := range inits {
		for name, probe := range map[string]*corev1.Probe{
			"startupProbe": c.StartupProbe, "livenessProbe": c.LivenessProbe, "readinessProbe": c.ReadinessProbe,
		} {
			if probe != nil {
				r.errorf(path.Index(i).Child(name), "must not be set: an init container runs to its end")
			}
		}
	}
}

func (r *report) validateProbe(at *field.Path, p *corev1.Probe, ports []corev1.ContainerPort) {
	for _, n := range []struct {
		name  string
		value int32
	}{
		{"initialDelaySeconds", p.InitialDelaySeconds}, {"timeoutSeconds", p.TimeoutSeconds},
		{"periodSeconds", p.PeriodSeconds}, {"successThreshold", p.SuccessThreshold}, {"failureThreshold", p.FailureThreshold},
	} {
		if n.value < 0 {
			r.errorf(at.Child(n.name), "must not be negative")
		}
	}
	if s := p.TerminationGracePeriodSeconds; s != nil {
		inRange(r, at.Child("terminationGracePeriodSeconds"), *s, 1, maxGracePeriod)
	}
	handlers := 0
	if p.Exec != nil {
		handlers++
		command := at.Child("exec", "command")
		if len(p.Exec.Command) == 0 || p.Exec.Command[0] == "" {
			r.errorf(command, "required: the program to run")
		}
		r.validateArgs(command, p.Exec.Command)
	}
	if p.HTTPGet != nil {
		handlers++
		r.validateHTTPGet(at.Child("httpGet"), p.HTTPGet, ports)
	}
	if p.TCPSocket != nil {
		handlers++
		path := at.Child("tcpSocket")
		r.validateProbePort(path.Child("port"), p.TCPSocket.Port, ports)
		r.validateProbeHost(path.Child("host"), p.TCPSocket.Host)
	}
	if p.GRPC != nil {
		handlers++
		path := at.Child("grpc")
		r.validateProbePort(path.Child("port"), intstr.FromInt32(p.GRPC.Port), ports)
		if s := *p.GRPC.Service; len(s) > maxServiceName || hasControl(s) {
			r.errorf(path.Child("service"), "must be one line of at most %d bytes", maxServiceName)
		}
	}
	if handlers != 1 {
		r.errorf(at, "must have one of exec, httpGet, tcpSocket and grpc")
	}
}

func (r *report) validateHTTPGet(at *field.Path, get *corev1.HTTPGetAction, ports []corev1.ContainerPort) {
	r.validateProbePort(at.Child("port"), get.Port, ports)
	r.validateProbeHost(at.Child("host"), get.Host)
	oneOf(r, at.Child("scheme"), get.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)
	if len(get.Path) > maxPathBytes || hasControl(get.Path) {
		r.errorf(at.Child("path"), "must be one line of at most %d bytes", maxPathBytes)
	}
	headers := at.Child("httpHeaders")
	atMost(r, headers, len(get.HTTPHeaders), maxHeaders)
	for i, h := range get.HTTPHeaders {
		if messages := validation.IsHTTPHeaderName(h.Name); len(messages) > 0 {
			r.errorf(headers.Index(i).Child("name"), "%s", join(messages))
		}
		if len(h.Value) > maxHeaderBytes || hasControl(h.Value) {
			r.errorf(headers.Index(i).Child("value"), "must be one line of at most %d bytes", maxHeaderBytes)
		}
	}
}

// validateProbeHost checks where a probe goes: probes reach the sandbox by way
// of its own loopback, without a network.
func (r *report) validateProbeHost(at *field.Path, host string) {
	switch host {
	case "", "localhost", "127.0.0.1", "::1":
	default:
		r.errorf(at, "is not supported yet: a probe asks the sandbox itself; for a name of its own set the header Host")
	}
}

// validateProbePort checks a port's number, or that the container has one of the
// name.
func (r *report) validateProbePort(at *field.Path, port intstr.IntOrString, ports []corev1.ContainerPort) {
	if port.Type == intstr.Int {
		if messages := validation.IsValidPortNum(port.IntValue()); len(messages) > 0 {
			r.errorf(at, "%s", join(messages))
		}
		return
	}
	var names []string
	for _, p := range ports {
		if p.Name == port.StrVal && p.Name != "" {
			if p.Protocol != corev1.ProtocolTCP {
				r.errorf(at, "port %s is not TCP", clip(port.StrVal))
			}
			return
		}
		names = append(names, p.Name)
	}
	r.didYouMean(at, Closest(port.StrVal, names), "the container has no port named %q", clip(port.StrVal))
}
