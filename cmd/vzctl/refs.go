package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// kindAll asks for objects of every kind.
const kindAll = "all"

// kind is a kind of object under the names that people type.
type kind struct {
	name    string   // as in "sandbox/web"
	key     string   // the Kind of such an object's key
	aliases []string // plural and short names
}

// kindRevision is the kind of a template that a StatefulSet has had.
const kindRevision = "ControllerRevision"

var kindPod = kind{"pod", manifests.KindSandbox, []string{"pods", "po"}}

// kinds returns the kinds there are.
func kinds() []kind {
	return []kind{
		{"sandbox", manifests.KindSandbox, []string{"sandboxes", "sb"}},
		kindPod,
		{"statefulset", manifests.KindStatefulSet, []string{"statefulsets", "sts"}},
		{"job", manifests.KindJob, []string{"jobs"}},
		{"cronjob", manifests.KindCronJob, []string{"cronjobs", "cj"}},
		{"sandboxclaim", manifests.KindSandboxClaim, []string{"sandboxclaims"}},
		{"sandboxwarmpool", manifests.KindSandboxWarmPool, []string{"sandboxwarmpools", "swp"}},
		{"sandboxtemplate", manifests.KindSandboxTemplate, []string{"sandboxtemplates"}},
		{"controllerrevision", kindRevision, []string{"controllerrevisions"}},
		{"configmap", manifests.KindConfigMap, []string{"configmaps", "cm"}},
		{"secret", manifests.KindSecret, []string{"secrets"}},
		{"runtimeclass", manifests.KindRuntimeClass, []string{"runtimeclasses"}},
		{"network", manifests.KindNetwork, []string{"networks", "net"}},
		{"persistentvolumeclaim", manifests.KindPersistentVolumeClaim, []string{"persistentvolumeclaims", "pvc"}},
	}
}

// findKind finds a kind by any of its names.
func findKind(word string) (kind, bool) {
	word = strings.ToLower(word)
	for _, k := range kinds() {
		if k.name == word || slices.Contains(k.aliases, word) {
			return k, true
		}
	}
	return kind{}, false
}

func unknownKind(word string) error {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.aliases[0])
	}
	return usagef("unknown kind %q: the kinds are %s", word, strings.Join(names, ", "))
}

// parseRef reads "web" or "KIND/web"; a name alone is a sandbox's.
func parseRef(arg, namespace string) (*api.Ref, error) {
	word, name, ok := strings.Cut(arg, "/")
	if !ok {
		word, name = "sandbox", arg
	}
	k, ok := findKind(word)
	if !ok {
		return nil, unknownKind(word)
	}
	if name == "" || strings.Contains(name, "/") {
		return nil, usagef("%q is not KIND/NAME", arg)
	}
	return &api.Ref{Kind: k.key, Namespace: namespace, Name: name}, nil
}

// parseSandbox reads the name of a sandbox: "web", "sandbox/web", "pod/web"; or of
// a claim, for the sandbox that it has: "sandboxclaim/web".
func parseSandbox(arg, namespace string) (*api.Ref, error) {
	ref, err := parseRef(arg, namespace)
	if err != nil {
		return nil, err
	}
	if ref.GetKind() != manifests.KindSandbox && ref.GetKind() != manifests.KindSandboxClaim {
		return nil, usagef("%q is not a sandbox", arg)
	}
	return ref, nil
}

// parseSandboxes reads several names of sandboxes.
func parseSandboxes(args []string, namespace string) ([]*api.Ref, error) {
	refs := make([]*api.Ref, len(args))
	for i, arg := range args {
		ref, err := parseSandbox(arg, namespace)
		if err != nil {
			return nil, err
		}
		refs[i] = ref
	}
	return refs, nil
}

// refName returns how a reference is shown: "sandbox/web".
func refName(ref *api.Ref) string {
	return strings.ToLower(ref.GetKind()) + "/" + ref.GetName()
}

// selection are the flags and arguments that choose objects.
type selection struct {
	namespace     string
	allNamespaces bool
	labels        string
	fields        string
	all           bool
}

func (s *selection) addNamespace(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&s.namespace, "namespace", "n", "default", "namespace of the objects")
}

func (s *selection) addFlags(cmd *cobra.Command) {
	s.addNamespace(cmd)
	cmd.Flags().BoolVarP(&s.allNamespaces, "all-namespaces", "A", false, "objects of every namespace")
	s.addSelectors(cmd)
}

func (s *selection) addSelectors(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&s.labels, "selector", "l", "", "only objects with these labels: app=web,tier!=db,'env in (a,b)'")
	cmd.Flags().StringVar(&s.fields, "field-selector", "", "only objects with these fields: status.phase=Running,metadata.name!=web")
}

// selects reports whether objects are chosen by other means than their names.
func (s *selection) selects() bool { return s.all || s.labels != "" || s.fields != "" }

// requests returns what to ask the daemon for: one request for each kind.
// words may be "KIND[,KIND…] [NAME…]", or "KIND/NAME …"; where a name alone may
// come first, it is a sandbox's.
func (s *selection) requests(words []string, nameAlone bool) ([]*api.GetRequest, error) {
	request := func(word string, names ...string) *api.GetRequest {
		req := &api.GetRequest{Kind: word, Namespace: s.namespace, Names: names, LabelSelector: s.labels, FieldSelector: s.fields}
		if s.allNamespaces {
			req.Namespace = ""
		}
		return req
	}
	if len(words) == 0 {
		return []*api.GetRequest{request("sandbox")}, nil
	}
	if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(w, "/") }) {
		return s.byPair(words, request)
	}
	var reqs []*api.GetRequest
	for word := range strings.SplitSeq(words[0], ",") {
		k, ok := findKind(word)
		switch {
		case ok:
			reqs = append(reqs, request(k.name, words[1:]...))
		case strings.EqualFold(word, kindAll) && len(words) == 1:
			reqs = append(reqs, request(kindAll))
		case nameAlone:
			return s.named(request("sandbox", words...))
		default:
			return nil, unknownKind(word)
		}
	}
	if len(words) > 1 {
		if err := s.checkNames(); err != nil {
			return nil, err
		}
	}
	return reqs, nil
}

// selectRefs returns the objects that fit a request.
func selectRefs(ctx context.Context, client *api.Client, req *api.GetRequest) ([]*api.Ref, error) {
	resp, err := client.Get(ctx, req)
	if err != nil {
		return nil, err
	}
	objects, err := decodeObjects(resp.GetObjects())
	if err != nil {
		return nil, err
	}
	refs := make([]*api.Ref, len(objects))
	for i := range objects {
		refs[i] = objects[i].key()
	}
	return refs, nil
}

// byPair returns the requests for "KIND/NAME …", kinds in the order given.
func (s *selection) byPair(words []string, request func(string, ...string) *api.GetRequest) ([]*api.GetRequest, error) {
	var reqs []*api.GetRequest
	for _, word := range words {
		w, name, ok := strings.Cut(word, "/")
		if !ok || name == "" || strings.Contains(name, "/") {
			return nil, usagef("%q is not KIND/NAME, as the other arguments are", word)
		}
		k, ok := findKind(w)
		if !ok {
			return nil, unknownKind(w)
		}
		i := slices.IndexFunc(reqs, func(r *api.GetRequest) bool { return r.GetKind() == k.name })
		if i < 0 {
			reqs = append(reqs, request(k.name, name))
			continue
		}
		reqs[i].Names = append(reqs[i].Names, name)
	}
	return reqs, s.checkNames()
}

func (s *selection) named(req *api.GetRequest) ([]*api.GetRequest, error) {
	return []*api.GetRequest{req}, s.checkNames()
}

// eachName parts requests for several names, so that one that is not there keeps
// none of the others from being shown.
func eachName(reqs []*api.GetRequest) []*api.GetRequest {
	var parted []*api.GetRequest
	for _, req := range reqs {
		if len(req.GetNames()) < 2 {
			parted = append(parted, req)
			continue
		}
		for _, name := range req.GetNames() {
			parted = append(parted, &api.GetRequest{Kind: req.GetKind(), Namespace: req.GetNamespace(), Names: []string{name}})
		}
	}
	return parted
}

// checkNames refuses flags that make no sense beside names.
func (s *selection) checkNames() error {
	switch {
	case s.labels != "", s.fields != "":
		return usagef("name objects or select them by --selector and --field-selector, not both")
	case s.allNamespaces:
		return usagef("an object's name is unique in its namespace only: use --namespace instead of --all-namespaces")
	case s.all:
		return usagef("name objects or choose them with --all, not both")
	}
	return nil
}
