package manifests

import (
	"net/netip"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Bounds of the lists of a Pod.
const (
	maxContainers  = 32
	maxVolumes     = 64
	maxHostAliases = 256
	// The resolver in the guest reads no more.
	maxNameservers  = 3
	maxSearches     = 32
	maxSearchLength = 2048
	maxDNSOptions   = 32
	maxGroups       = 32
	maxSysctls      = 64
	maxPullSecrets  = 32
)

func (r *report) validatePod(path *field.Path, s *Sandbox) {
	pod := &s.Spec.PodTemplate.Spec
	oneOf(r, path.Child("restartPolicy"), pod.RestartPolicy,
		corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)
	inRange(r, path.Child("terminationGracePeriodSeconds"), *pod.TerminationGracePeriodSeconds, 0, maxGracePeriod)
	if pod.RuntimeClassName != nil && *pod.RuntimeClassName != "" {
		if messages := validation.IsDNS1123Label(*pod.RuntimeClassName); len(messages) > 0 {
			r.errorf(path.Child("runtimeClassName"), "%s", join(messages))
		}
	}
	if pod.OS != nil {
		oneOf(r, path.Child("os", "name"), pod.OS.Name, corev1.Linux)
	}
	atMost(r, path.Child("imagePullSecrets"), len(pod.ImagePullSecrets), maxPullSecrets)
	for i, p := range pod.ImagePullSecrets {
		if messages := validation.IsDNS1123Subdomain(p.Name); len(messages) > 0 {
			r.errorf(path.Child("imagePullSecrets").Index(i).Child("name"), "%s", join(messages))
		}
	}
	r.validateDNS(path.Child("dnsConfig"), pod.DNSConfig)
	r.validateHostAliases(path.Child("hostAliases"), pod.HostAliases)
	r.validatePodSecurity(path.Child("securityContext"), pod.SecurityContext)
	written, fromTemplates := s.splitVolumes()
	volumes := r.validateVolumes(path.Child("volumes"), written)
	for _, v := range fromTemplates {
		volumes.Insert(v.Name)
	}
	names := sets.New[string]()
	r.validateContainers(path.Child("initContainers"), pod.InitContainers, names, volumes)
	r.refuseProbes(path.Child("initContainers"), pod.InitContainers)
	if len(pod.Containers) == 0 {
		r.errorf(path.Child("containers"), "required: at least one container")
	}
	r.validateContainers(path.Child("containers"), pod.Containers, names, volumes)
}

func (r *report) validateHostname(path *field.Path, name string) {
	if messages := validation.IsDNS1123Label(name); len(messages) > 0 {
		r.errorf(path, "%s", join(messages))
	}
}

func (r *report) validateDNS(path *field.Path, dns *corev1.PodDNSConfig) {
	if dns == nil {
		return
	}
	atMost(r, path.Child("nameservers"), len(dns.Nameservers), maxNameservers)
	for i, s := range dns.Nameservers {
		r.validateIP(path.Child("nameservers").Index(i), s)
	}
	atMost(r, path.Child("searches"), len(dns.Searches), maxSearches)
	length := 0
	for i, s := range dns.Searches {
		length += len(s) + 1
		if messages := validation.IsDNS1123SubdomainWithUnderscore(trimDot(s)); len(messages) > 0 && s != "." {
			r.errorf(path.Child("searches").Index(i), "%s", join(messages))
		}
	}
	if length > maxSearchLength {
		r.errorf(path.Child("searches"), "have %d characters; %d are the most", length, maxSearchLength)
	}
	atMost(r, path.Child("options"), len(dns.Options), maxDNSOptions)
	for i, o := range dns.Options {
		at := path.Child("options").Index(i)
		if o.Name == "" || hasSpace(o.Name) {
			r.errorf(at.Child("name"), "must be one word")
		}
		if o.Value != nil && hasSpace(*o.Value) {
			r.errorf(at.Child("value"), "must be one word")
		}
	}
}

func trimDot(s string) string {
	if len(s) > 1 && s[len(s)-1] == '.' {
		return s[:len(s)-1]
	}
	return s
}

func (r *report) validateIP(path *field.Path, s string) {
	if ip, err := netip.ParseAddr(s); err != nil || ip.Zone() != "" {
		r.errorf(path, "must be an IP address")
	}
}

func (r *report) validateHostAliases(path *field.Path, aliases []corev1.HostAlias) {
	atMost(r, path, len(aliases), maxHostAliases)
	for i, a := range aliases {
		r.validateIP(path.Index(i).Child("ip"), a.IP)
		if len(a.Hostnames) == 0 {
			r.errorf(path.Index(i).Child("hostnames"), "required: the names of %s", clip(a.IP))
		}
		for j, name := range a.Hostnames {
			if messages := validation.IsDNS1123Subdomain(name); len(messages) > 0 {
				r.errorf(path.Index(i).Child("hostnames").Index(j), "%s", join(messages))
			}
		}
	}
}

func (r *report) validatePodSecurity(path *field.Path, sc *corev1.PodSecurityContext) {
	if sc == nil {
		return
	}
	r.validateUser(path, sc.RunAsUser, sc.RunAsGroup, sc.RunAsNonRoot)
	groups := path.Child("supplementalGroups")
	atMost(r, groups, len(sc.SupplementalGroups), maxGroups)
	for i, g := range sc.SupplementalGroups {
		if messages := validation.IsValidGroupID(g); len(messages) > 0 {
			r.errorf(groups.Index(i), "%s", join(messages))
		}
	}
	if sc.FSGroup != nil {
		if messages := validation.IsValidGroupID(*sc.FSGroup); len(messages) > 0 {
			r.errorf(path.Child("fsGroup"), "%s", join(messages))
		}
	}
	if p := sc.FSGroupChangePolicy; p != nil {
		oneOf(r, path.Child("fsGroupChangePolicy"), *p, corev1.FSGroupChangeOnRootMismatch, corev1.FSGroupChangeAlways)
	}
	r.validateSysctls(path.Child("sysctls"), sc.Sysctls)
}

// sysctlName is what Kubernetes allows: words joined by dots or slashes. Here
// it also becomes a path below /proc/sys, and no word is "..".
var sysctlName = regexp.MustCompile(`^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`)

func (r *report) validateSysctls(path *field.Path, sysctls []corev1.Sysctl) {
	const longest = 253
	atMost(r, path, len(sysctls), maxSysctls)
	seen := sets.New[string]()
	for i, s := range sysctls {
		at := path.Index(i)
		switch {
		case len(s.Name) > longest || !sysctlName.MatchString(s.Name):
			r.errorf(at.Child("name"), "not a sysctl's name, such as net.core.somaxconn")
		case seen.Has(s.Name):
			r.errorf(at.Child("name"), "%s is set twice", s.Name)
		}
		seen.Insert(s.Name)
		if s.Value == "" || len(s.Value) > 4096 || hasControl(s.Value) {
			r.errorf(at.Child("value"), "must be one line of at most 4096 bytes")
		}
	}
}

func hasControl(s string) bool {
	for _, c := range s {
		if isControl(c) && c != '\t' {
			return true
		}
	}
	return false
}

// atMost checks the length of a list.
func atMost(r *report, path *field.Path, n, most int) {
	if n > most {
		r.errorf(path, "has %d items; %d are the most", n, most)
	}
}
