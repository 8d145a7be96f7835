#!/usr/bin/python3
"""The Debian package and the archive, in roots that have nothing else: the package with
what it depends on and gdb, the archive in other releases. There a tiny guest is
recorded, verified, and debugged by gdb with the commands that came along."""
import glob
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../e2e"))
from harness import ROOT, Test, skip  # noqa: E402


def more(parser):
    parser.add_argument("--build", required=True)
    parser.add_argument("--release", action="append", required=True)
    parser.add_argument("--archive-only", action="store_true", help="not the package, which is of this release")


test = Test(__doc__, extra=more)
if os.geteuid() != 0:
    skip("bare roots are made by root only")
if shutil.which("mmdebstrap") is None:
    skip("mmdebstrap is not installed (scripts/setup package)")
if test.arguments.archive_only and not os.environ.get("CHRONOVISOR_TEST_PACKAGES"):
    skip("scripts/test --packages tries the releases before and after")
ROOTS = os.path.join(os.environ.get("CHRONOVISOR_CACHE", os.path.join(ROOT, ".cache")), "roots")


def host(*command, seconds=1200, expect=0):
    done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    test.check(expect is None or done.returncode == expect, f"{command[0]} failed", done)
    return done


def inside(root, *command, **how):
    """Runs a command in the root, with devices and processes as programs want them."""
    return host("unshare", "--mount", "--pid", "--fork", "/bin/sh", "-c",
                'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@"', root, *command, **how)


def mirror():
    """Where this system's own packages come from."""
    policy = host("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").stdout.decode().split()
    for uri in policy:
        if uri.rstrip("/").endswith("/debian"):
            return uri
    return policy[0] if policy else "http://deb.debian.org/debian"


def bare_root(release):
    """A fresh root of the release with gdb in it; None where the mirror does not have it."""
    tar = os.path.join(ROOTS, release + ".tar")
    if not os.path.isfile(tar):
        os.makedirs(ROOTS, exist_ok=True)
        done = host("mmdebstrap", "--format=tar", "--variant=minbase", "--include=gdb", "--aptopt=APT::Install-Recommends \"false\"",
                    release, tar + ".new", mirror(), expect=None, seconds=1500)
        if done.returncode != 0:
            print(f"{release}: no root: {done.stderr.decode(errors='replace').strip()[-300:]}")
            return None
        os.rename(tar + ".new", tar)
    root = test.path("root-" + release)
    os.mkdir(root)
    host("tar", "-C", root, "-xf", tar, "--exclude=./dev/*")
    return root


guest = test.guest("travel64") if os.path.exists(os.path.join(ROOT, "tests/guests/travel64.S")) else test.guest("interrupts64")
SESSION = """set -e
cd /tmp
{program} record -o run.cvr --multiboot guest --serial none
{program} verify run.cvr
{program} info run.cvr | head -1
cat > gdb-batch <<'END'
#!/bin/sh
exec gdb -nx -batch "$@" -ex "chronovisor" -ex "info registers rip" -ex "stepi" -ex "reverse-stepi" -ex "print \\$position" -ex detach
END
chmod +x gdb-batch
{program} debug run.cvr --at 100 --gdb=/tmp/gdb-batch 2>&1
"""


def try_in(root, program, what):
    shutil.copy(guest, os.path.join(root, "tmp/guest"))
    done = inside(root, "/bin/sh", "-c", SESSION.format(program=program), expect=None, seconds=300)
    said = (done.stdout + done.stderr).decode(errors="replace")
    test.check(done.returncode == 0, f"{what}: the session", done)
    for wanted in ("digests and", "rip  ", "$1 = 100"):
        test.check(wanted in said, f"{what}: no \"{wanted}\"", done)
    test.check("Undefined command" not in said, f"{what}: the commands for gdb are not there", done)
    print(f"{what}: recorded, verified, debugged")


tried = 0
archive = host(os.path.join(ROOT, "scripts/make-archive"), seconds=1700).stdout.decode().strip()
package = None if test.arguments.archive_only else host(os.path.join(ROOT, "scripts/make-deb"), seconds=1700).stdout.decode().strip()
for release in test.arguments.release:
    root = bare_root(release)
    if root is None:
        continue
    if package:
        # With what it depends on, from the mirror, as apt does it.
        shutil.copy(package, os.path.join(root, "tmp/chronovisor.deb"))
        shutil.copy("/etc/resolv.conf", os.path.join(root, "etc/resolv.conf"))
        inside(root, "apt-get", "-q", "update", seconds=600)
        inside(root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "--no-install-recommends", "install",
             "/tmp/chronovisor.deb", seconds=600)
        for path in ("usr/bin/chronovisor", "usr/share/chronovisor/gdb/chronovisor.py", "usr/share/zsh/vendor-completions/_chronovisor"):
            test.check(os.path.exists(os.path.join(root, path)), f"{path} is not installed")
        fields = host("dpkg-deb", "--info", package).stdout.decode()
        test.check("Depends: " in fields and "libcapstone4" in fields, f"dependencies: {fields}")
        contents = host("dpkg-deb", "--contents", package).stdout.decode()
        test.check(contents.count("/usr/share/man/man1/chronovisor-") > 10, "manual pages are missing")
        try_in(root, "chronovisor", f"package, {release}")
        inside(root, "dpkg", "--purge", "chronovisor")
        test.check(not glob.glob(os.path.join(root, "usr/share/chronovisor*")), "something is left after --purge")
    host("tar", "-C", os.path.join(root, "opt"), "-xf", archive)
    folder = os.path.basename(archive)[:-len(".tar.xz")]
    linked = host("ldd", os.path.join(root, "opt", folder, "bin/chronovisor"), expect=None)
    test.check(b"=>" not in linked.stdout, "the archive's program needs libraries", linked)
    try_in(root, f"/opt/{folder}/bin/chronovisor", f"archive, {release}")
    shutil.rmtree(root, ignore_errors=True)
    tried += 1
if tried == 0:
    skip("the mirror has none of these releases")
