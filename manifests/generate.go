package manifests

//go:generate go test -count=1 -run "TestEveryFieldHasOneUse|TestSchemaIsUpToDate|TestReferenceIsUpToDate" . -update
