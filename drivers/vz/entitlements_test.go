package vz

import (
	"maps"
	"os"
	"testing"

	"howett.net/plist"
)

func TestProgramIsEntitledToVirtualizationAndNoMore(t *testing.T) {
	data, err := os.ReadFile("../../packaging/macos/runtime-vz.entitlements")
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]bool
	format, err := plist.Unmarshal(data, &got)
	if err != nil || format != plist.XMLFormat {
		t.Fatalf("format %d, %v", format, err)
	}
	if want := map[string]bool{"com.apple.security.virtualization": true}; !maps.Equal(got, want) {
		t.Errorf("entitlements %v, want %v", got, want)
	}
}
