package manifests

func sandboxTemplateField(name string) fieldUse {
	switch name {
	case "networkPolicyManagement", "envVarsInjectionPolicy", "volumeClaimTemplatesPolicy":
		return fieldUse{class: supported}
	case "networkPolicy":
		return fieldUse{class: notYet}
	}
	return fieldUse{}
}
