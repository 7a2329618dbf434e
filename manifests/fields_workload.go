package manifests

func jobField(name string) fieldUse {
	switch name {
	case "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "template", "ttlSecondsAfterFinished",
		"completionMode", "suspend":
		return fieldUse{class: supported}
	case "podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes", "podReplacementPolicy":
		return fieldUse{class: notYet}
	case "selector", "manualSelector":
		return noMeaning("a job's sandboxes are known by their owner")
	case "managedBy":
		return noMeaning("there is no other controller")
	case "scheduling":
		return noEffect(oneHost)
	}
	return fieldUse{}
}

func cronJobField(name string) fieldUse {
	switch name {
	case "schedule", "timeZone", "startingDeadlineSeconds", "concurrencyPolicy", "suspend", "jobTemplate",
		"successfulJobsHistoryLimit", "failedJobsHistoryLimit":
		return fieldUse{class: supported}
	}
	return fieldUse{}
}

func statefulSetField(name string) fieldUse {
	switch name {
	case "replicas", "selector", "template", "podManagementPolicy", "updateStrategy", "revisionHistoryLimit",
		"minReadySeconds", "ordinals", "serviceName", "volumeClaimTemplates", "persistentVolumeClaimRetentionPolicy":
		return fieldUse{class: supported}
	}
	return fieldUse{}
}
