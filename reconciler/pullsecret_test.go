package reconciler

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
)

func pullSecret(typ, key, value string) string {
	return `apiVersion: v1
kind: Secret
metadata: {name: regcred}
type: ` + typ + `
stringData: {` + key + `: '` + value + `'}
`
}

func TestPullSecret(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.images.opens = `{"auths":{"example.com":{}}}`
		w.write("web.yaml", podLike("web", "imagePullSecrets: [{name: regcred}]"))
		after(time.Hour) // The back-off is minutes now.
		w.wantCondition("web", manifests.ConditionImageReady, "False", ReasonImageFailed, "there is no Secret default/regcred")

		w.write("secret.yaml", pullSecret("Opaque", "password", "x"))
		w.wantCondition("web", manifests.ConditionImageReady, "False", ReasonImageFailed, "want type kubernetes.io/dockerconfigjson")
		w.write("secret.yaml", pullSecret(string(corev1.SecretTypeDockerConfigJson), ".dockerconfigjson", `{"auths":{}}`))
		w.wantCondition("web", manifests.ConditionImageReady, "False", ReasonImageFailed, "refuses")
		w.write("secret.yaml", pullSecret(string(corev1.SecretTypeDockercfg), ".dockercfg", `{"example.com":{}}`))
		w.wantPhase("web", manifests.PhaseRunning)

		// Another secret is for the next pull: what runs is not touched.
		w.write("secret.yaml", pullSecret(string(corev1.SecretTypeDockerConfigJson), ".dockerconfigjson", `{"auths":{"other.example":{}}}`))
		w.remove("secret.yaml")
		after(time.Hour)
		w.wantPhase("web", manifests.PhaseRunning)
		if n := w.runtimes.launched("web"); n != 1 {
			t.Errorf("launched %d times", n)
		}
	})
}
