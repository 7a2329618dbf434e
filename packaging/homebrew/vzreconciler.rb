# Homebrew formula. Not yet run on a Mac.
class Vzreconciler < Formula
  desc "Declarative Linux VM sandboxes"
  homepage "https://github.com/vzreconciler/vzreconciler"
  license "Apache-2.0"
  head "https://github.com/vzreconciler/vzreconciler.git", branch: "main"

  depends_on "go" => :build
  depends_on xcode: :build
  depends_on macos: :ventura

  def install
    # Homebrew strips and signs what it installs, and knows nothing of entitlements:
    # runtime-vz is signed again in post_install.
    system "make", "install", "PREFIX=#{prefix}", "VERSION=#{version}"
    pkgshare.install "packaging/macos/runtime-vz.entitlements"
  end

  def post_install
    system "codesign", "--force", "--sign", "-",
           "--entitlements", pkgshare/"runtime-vz.entitlements",
           libexec/"vzreconciler/plugins/runtime-vz/bin/runtime-vz"
  end

  def caveats
    <<~EOS
      VMs need a kernel, once:
        vzctl kernel install --image vmlinux   # docs/macos.md says which
      The daemon as a service of your login:
        vzctl service install
    EOS
  end

  test do
    assert_match "vzctl", shell_output("#{bin}/vzctl system version")
  end
end
