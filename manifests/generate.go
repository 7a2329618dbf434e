package manifests

//go:generate go test -count=1 -run "TestEveryFieldHasOneUse|TestSchemaIsUpToDate|TestReferenceIsUpToDate|TestUpstreamExamples" . -update
//go:generate go test -count=1 -run "TestCompatibilityIsUpToDate" . -update
