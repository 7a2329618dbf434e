package kernels

import (
	"errors"
	"slices"
	"testing"
)

func TestDefaultPackageFollowsTheDistribution(t *testing.T) {
	for _, tc := range []struct{ osRelease, arch, want string }{
		{"ID=debian\nVERSION_ID=\"12\"\n", "amd64", "linux-image-cloud-amd64"},
		{"ID=debian\n", "arm64", "linux-image-cloud-arm64"},
		{"ID=ubuntu\nID_LIKE=debian\n", "amd64", "linux-image-virtual"},
		{"ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "amd64", "linux-image-virtual"},
		{"ID=debian\n", "riscv64", ""},
		{"ID=fedora\n", "amd64", ""},
	} {
		got, err := defaultPackage(tc.osRelease, tc.arch)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%q on %s: got %q, %v, want %q", tc.osRelease, tc.arch, got, err, tc.want)
		}
	}
}

func TestMetaPackageLeadsToTheKernel(t *testing.T) {
	depends := map[string]string{
		"linux-image-cloud-amd64":          "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n",
		"linux-image-6.1.0-56-cloud-amd64": "linux-image-6.1.0-56-cloud-amd64\n  Depends: kmod\n |Depends: initramfs-tools\n  Depends: <linux-initramfs-tool>\n",
		"linux-image-virtual":              "linux-image-virtual\n  Depends: linux-image-generic\n",
		"linux-image-generic":              "linux-image-generic\n  Depends: linux-image-6.8.0-40-generic\n  Depends: linux-firmware\n",
		"linux-image-6.8.0-40-generic":     "linux-image-6.8.0-40-generic\n  Depends: linux-modules-6.8.0-40-generic\n",
		"linux-image-loop":                 "linux-image-loop\n  Depends: linux-image-loop\n",
		"bash":                             "bash\n  PreDepends: libc6\n",
	}
	lookup := func(name string) ([]string, error) {
		out, ok := depends[name]
		if !ok {
			return nil, errors.New("no such package")
		}
		return parseDepends([]byte(out)), nil
	}
	for name, want := range map[string][]string{
		"linux-image-cloud-amd64": {"linux-image-6.1.0-56-cloud-amd64"},
		"linux-image-virtual":     {"linux-image-6.8.0-40-generic", "linux-modules-6.8.0-40-generic"},
		"linux-image-loop":        nil,
		"bash":                    nil,
		"none":                    nil,
	} {
		got, err := resolvePackage(name, lookup)
		if !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
		}
	}
}
