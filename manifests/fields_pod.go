package manifests

import "fmt"

const (
	oneHost   = "there is one host and no scheduler"
	noCluster = "there is no cluster around it"
	ownVM     = "a sandbox is a VM with a kernel of its own"
	noDriver  = "there are no storage drivers of a cluster; use persistentVolumeClaim, emptyDir, configMap or secret"
)

// documentField knows the fields at the top of every document.
func documentField(name string) fieldUse {
	switch name {
	case "metadata", "spec", "data", "binaryData", "stringData", "type", "immutable", "handler":
		return fieldUse{class: supported}
	case "status":
		return noEffect("the status is found out, not read from a manifest")
	case "overhead":
		return noEffect("a VM has memory for its kernel beside the containers' limits; vm.memory says how much in all")
	case "scheduling":
		return noEffect(oneHost)
	}
	return fieldUse{}
}

func objectMetaField(name string) fieldUse {
	switch name {
	case "name", "namespace", "labels", "annotations":
		return fieldUse{class: supported}
	case "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink":
		return noEffect("it is set by whoever keeps the object, not by its manifest")
	case "generateName":
		return noMeaning("a manifest needs a fixed name: it is applied again and again")
	case "ownerReferences", "finalizers", "deletionTimestamp", "deletionGracePeriodSeconds":
		return noMeaning("an object lives as long as its manifest")
	}
	return fieldUse{}
}

// sandboxField knows the fields of a Sandbox's spec, ours and agent-sandbox's.
func sandboxField(name string) fieldUse {
	switch name {
	case "operatingMode", "replicas", "shutdownTime", "shutdownPolicy", "podTemplate", "vm", "volumeClaimTemplates",
		"dependsOn", "progressDeadlineSeconds", "networks":
		return fieldUse{class: supported}
	case "sockets":
		return fieldUse{class: notYet}
	case "service":
		return noEffect(noCluster)
	}
	return fieldUse{}
}

func podField(name string) fieldUse {
	switch name {
	case "initContainers":
		return limited("those that go on beside the others (`restartPolicy: Always`) are refused")
	case "os":
		return limited("`linux` alone")
	case "runtimeClassName":
		return limited("the name of a RuntimeClass, or of a runtime plugin itself")
	case "volumes", "containers", "restartPolicy", "terminationGracePeriodSeconds", "securityContext",
		"hostname", "subdomain", "hostAliases", "dnsConfig", "imagePullSecrets":
		return fieldUse{class: supported}
	case "ephemeralContainers", "activeDeadlineSeconds", "shareProcessNamespace",
		"setHostnameAsFQDN", "hostnameOverride", "overhead",
		"resources", "resourceClaims":
		return fieldUse{class: notYet}
	case "nodeSelector", "nodeName", "affinity", "schedulerName", "tolerations", "priorityClassName", "priority",
		"preemptionPolicy", "topologySpreadConstraints", "schedulingGroup", "evictionResponders":
		return noEffect(oneHost)
	case "serviceAccountName", "serviceAccount", "automountServiceAccountToken", "enableServiceLinks":
		return noEffect(noCluster)
	case "dnsPolicy":
		return noEffect("there is no cluster DNS; dnsConfig says what is wanted")
	case "hostUsers":
		return noEffect(ownVM)
	case "hostNetwork", "hostPID", "hostIPC":
		return noMeaning(ownVM)
	case "readinessGates", "schedulingGates":
		return noMeaning("there is no controller that would open the gate")
	}
	return fieldUse{}
}

func podSecurityField(name string) fieldUse {
	switch name {
	case "runAsUser", "runAsGroup", "runAsNonRoot", "supplementalGroups", "sysctls", "fsGroup", "fsGroupChangePolicy":
		return fieldUse{class: supported}
	case "supplementalGroupsPolicy":
		return fieldUse{class: notYet}
	case "seccompProfile", "appArmorProfile", "seLinuxOptions", "seLinuxChangePolicy":
		return noEffect("the VM is the boundary")
	case "windowsOptions":
		return noMeaning("containers are Linux")
	}
	return fieldUse{}
}

func containerField(name string) fieldUse {
	switch name {
	case "name", "image", "command", "args", "workingDir", "ports", "envFrom", "env", "resources",
		"volumeMounts", "imagePullPolicy", "securityContext", "stdin", "stdinOnce", "tty",
		"livenessProbe", "readinessProbe", "startupProbe":
		return fieldUse{class: supported}
	case "restartPolicy", "restartPolicyRules", "volumeDevices",
		"lifecycle", "terminationMessagePath", "terminationMessagePolicy":
		return fieldUse{class: notYet}
	case "resizePolicy":
		return noEffect("limits change in the container that runs")
	}
	return fieldUse{}
}

func containerSecurityField(name string) fieldUse {
	switch name {
	case "capabilities", "runAsUser", "runAsGroup", "runAsNonRoot", "readOnlyRootFilesystem", "allowPrivilegeEscalation":
		return fieldUse{class: supported}
	case "privileged":
		return fieldUse{notYet, "add the capabilities that are needed"}
	case "procMount":
		return fieldUse{class: notYet}
	case "seccompProfile", "appArmorProfile", "seLinuxOptions":
		return noEffect("the VM is the boundary")
	case "windowsOptions":
		return noMeaning("containers are Linux")
	}
	return fieldUse{}
}

func portField(name string) fieldUse {
	switch name {
	case "name", "containerPort", "protocol", "hostPort", "hostIP":
		return fieldUse{class: supported}
	}
	return fieldUse{}
}

func resourcesField(name string) fieldUse {
	switch name {
	case "limits":
		return limited("`cpu` and `memory`; `ephemeral-storage` is warned of, for `vm.disk` bounds what is written; others are refused")
	case "requests":
		return noEffect("nothing else asks for this host's share; limits size the VM")
	case "claims":
		return fieldUse{class: notYet}
	}
	return fieldUse{}
}

func envSourceField(name string) fieldUse {
	switch name {
	case "fieldRef":
		return limited("`metadata.name`, `metadata.namespace`, `metadata.labels['KEY']`, `metadata.annotations['KEY']`")
	case "configMapKeyRef", "secretKeyRef":
		return fieldUse{class: supported}
	case "resourceFieldRef", "fileKeyRef":
		return fieldUse{class: notYet}
	}
	return fieldUse{}
}

func probeTargetField(name string) fieldUse {
	if name == "host" {
		return limited("the sandbox itself alone, as `localhost`")
	}
	return fieldUse{class: supported}
}

func mountField(name string) fieldUse {
	switch name {
	case "name", "readOnly", "mountPath", "subPath":
		return fieldUse{class: supported}
	case "recursiveReadOnly", "mountPropagation", "subPathExpr", "bindMountOptions":
		return fieldUse{class: notYet}
	}
	return fieldUse{}
}

func volumeField(name string) fieldUse {
	switch name {
	case "emptyDir", "configMap", "secret", "persistentVolumeClaim", "ephemeral", "hostPath",
		"projected", "image":
		return fieldUse{class: supported}
	case "downwardAPI":
		return fieldUse{class: notYet}
	case "gitRepo":
		return noMeaning("Kubernetes has given it up")
	case "gcePersistentDisk", "awsElasticBlockStore", "nfs", "iscsi", "glusterfs", "rbd", "flexVolume", "cinder",
		"cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk",
		"portworxVolume", "scaleIO", "storageos", "csi":
		return noMeaning(noDriver)
	}
	return fieldUse{}
}

func emptyDirField(name string) fieldUse {
	switch name {
	case "medium", "sizeLimit":
		return fieldUse{class: supported}
	case "mode":
		return fieldUse{class: notYet}
	}
	return fieldUse{}
}

// claimField knows the fields of a PersistentVolumeClaim's spec.
func claimField(name string) fieldUse {
	switch name {
	case "accessModes":
		return limited("not `ReadWriteMany`: several VMs cannot write to one disk")
	case "volumeMode":
		return limited("`Filesystem` alone")
	case "dataSource":
		return limited("a `PersistentVolumeClaim` alone")
	case "resources":
		return fieldUse{class: supported}
	case "storageClassName", "volumeAttributesClassName":
		return noEffect("there is one class of storage: files on this host's disk")
	case "selector", "volumeName":
		return noMeaning("there are no PersistentVolumes to choose from: each claim gets a volume of its own")
	case "dataSourceRef":
		return fieldUse{notYet, "use dataSource"}
	}
	return fieldUse{}
}

// networkField knows the fields of a Network's spec.
func networkField(name string) fieldUse {
	switch name {
	case "mode", "subnet", "mtu":
		return fieldUse{class: supported}
	case "ipv6Subnet":
		return fieldUse{notYet, "networks are IPv4"}
	}
	return fieldUse{}
}

func claimResourcesField(name string) fieldUse {
	switch name {
	case "requests":
		return fieldUse{class: supported}
	case "limits":
		return noEffect("a volume is as large as its request says")
	}
	return fieldUse{}
}

// projectionField knows the sources of a projected volume.
func projectionField(name string) fieldUse {
	switch name {
	case "configMap", "secret":
		return fieldUse{class: supported}
	case "downwardAPI":
		return fieldUse{class: notYet}
	case "serviceAccountToken", "clusterTrustBundle", "podCertificate":
		return noMeaning(noCluster)
	}
	return fieldUse{}
}

// filesField knows the fields of configMap and secret volumes and their items.
func filesField(name string) fieldUse {
	switch name {
	case "name", "secretName", "sources", "items", "defaultMode", "optional", "key", "path", "mode":
		return fieldUse{class: supported}
	case "defaultUser", "user":
		return fieldUse{class: notYet}
	}
	return fieldUse{}
}

// refusal is the message for a field that cannot be used, or "".
func (u fieldUse) refusal(name string) string {
	var s string
	switch u.class {
	case supported, harmless:
		return ""
	case meaningless:
		s = fmt.Sprintf("%s has no meaning here", name)
	case notYet, undecided:
		s = fmt.Sprintf("%s is not supported yet", name)
	}
	if u.note != "" {
		s += ": " + u.note
	}
	return s
}
