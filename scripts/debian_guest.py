"""Whole Debian systems as initial RAM disks, made of packages by mmdebstrap:
what scripts/build-initramfs puts into its archive for --systemd and
--cpython-tests. Roots are kept in .cache/roots; --refresh makes them anew."""
import os
import shutil
import stat
import subprocess
import tarfile

CACHE = os.environ.get("CHRONOVISOR_CACHE",
                       os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), ".cache"))
SUITE = "bookworm"
# What no guest here looks at.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*",
            "/usr/share/i18n/*", "/usr/share/lintian/*")
NOT_ARCHIVED = ("./dev/", "./proc/", "./sys/", "./run/", "./tmp/", "./var/cache/", "./var/lib/apt/", "./var/log/")

# The numeric program: bodies under gravity, and products of matrices.
PROGRAM = r"""
#include <math.h>
#include <stdio.h>
enum { kBodies = 5, kSize = 160 };
static double place[kBodies][3], speed[kBodies][3], mass[kBodies];
static double a[kSize][kSize], b[kSize][kSize], c[kSize][kSize];
int main(void) {
  for (int n = 0; n < kBodies; ++n) {
    mass[n] = 1.0 / (n + 1);
    for (int k = 0; k < 3; ++k) { place[n][k] = sin(n * 3 + k) * 10; speed[n][k] = cos(n * 3 + k); }
  }
  for (int step = 0; step < 1000000; ++step) {
    for (int n = 0; n < kBodies; ++n) {
      for (int m = n + 1; m < kBodies; ++m) {
        double d[3], square = 0.01;
        for (int k = 0; k < 3; ++k) { d[k] = place[n][k] - place[m][k]; square += d[k] * d[k]; }
        const double pull = 0.001 / (square * sqrt(square));
        for (int k = 0; k < 3; ++k) { speed[n][k] -= d[k] * mass[m] * pull; speed[m][k] += d[k] * mass[n] * pull; }
      }
    }
    for (int n = 0; n < kBodies; ++n) for (int k = 0; k < 3; ++k) place[n][k] += 0.001 * speed[n][k];
  }
  for (int i = 0; i < kSize; ++i) for (int j = 0; j < kSize; ++j) { a[i][j] = sin(i + j); b[i][j] = cos(i - j); }
  for (int turn = 0; turn < 20; ++turn) {
    for (int i = 0; i < kSize; ++i)
      for (int j = 0; j < kSize; ++j) {
        double sum = 0;
        for (int k = 0; k < kSize; ++k) sum += a[i][k] * b[k][j];
        c[i][j] = sum;
      }
    for (int i = 0; i < kSize; ++i) for (int j = 0; j < kSize; ++j) a[i][j] = c[i][j] / kSize;
  }
  printf("numeric: %.9f %.9f\n", place[0][0], c[1][2]);
  return 0;
}
"""
SYSTEMD_WORK = """#!/bin/sh
echo "work: gcc" > /dev/console
cd /root && gcc -O2 -o numeric numeric.c -lm && ./numeric > /dev/console
echo "work: status $?" > /dev/console
systemctl poweroff --no-block
"""
SYSTEMD_UNIT = """[Unit]
Description=The workload
After=multi-user.target
[Service]
Type=idle
ExecStart=/root/work
[Install]
WantedBy=multi-user.target
"""

# Suites of the interpreter and of its library that need no network and no clock to trust:
# 17.6 billion steps, the boot included.
CPYTHON_SUITES = ("test_grammar test_dict test_list test_float test_complex test_generators test_class test_heapq "
                  "test_string test_functools test_fractions test_struct test_re").split()
# Many more, for a recording of a long run (bench/scale --whole).
ALL_CPYTHON_SUITES = CPYTHON_SUITES + (
    "test_decimal test_long test_int test_math test_bytes test_unicode test_itertools test_random test_statistics "
    "test_set test_sort test_json test_pickle test_zlib test_bz2 test_hashlib test_collections test_ast").split()
CPYTHON_INIT = """#!/usr/bin/python3
import ctypes, os, subprocess
libc = ctypes.CDLL(None)
for kind, place in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")):
    libc.mount(kind.encode(), place.encode(), kind.encode(), 0, None)
os.chdir("/tmp")
environment = {{"PATH": "/usr/bin:/usr/sbin", "HOME": "/root", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}}
print("work: suites", flush=True)
done = subprocess.run(["python3", "-m", "test", "-q", *"{suites}".split()], env=environment, check=False)
print("work: status", done.returncode, flush=True)
os.sync()
libc.reboot(0x4321fedc)
"""

PACKAGES = {
    "systemd": ("systemd-sysv", "udev", "dbus", "gcc", "libc6-dev"),
    "cpython-tests": ("python3", "python3-distutils", "libpython3.11-testsuite"),
}
SUITES = {"cpython-tests": CPYTHON_SUITES, "all-cpython-tests": ALL_CPYTHON_SUITES}
# Which system a kind of guest is, where it is not one of its own.
SYSTEMS = {"all-cpython-tests": "cpython-tests"}


def root_tar(kind, refresh):
    """A tar archive of the Debian system of this kind."""
    path = os.path.join(CACHE, "roots", f"{kind}.tar")
    if os.path.exists(path) and not refresh:
        return path
    if shutil.which("mmdebstrap") is None:
        raise OSError("mmdebstrap is not installed (scripts/setup bench)")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    done = subprocess.run(["mmdebstrap", "--format=tar", "--variant=essential", "--aptopt=APT::Install-Recommends \"false\"",
                           "--include=" + ",".join(PACKAGES[kind])] + options + [SUITE, path + ".new"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise OSError(f"mmdebstrap: exit status {done.returncode}: {done.stdout.decode(errors='replace').strip()[-500:]}")
    os.replace(path + ".new", path)
    return path


def add_root(archive, kind, refresh):
    """The system's files into `archive`; nothing in it depends on when it was made."""
    with tarfile.open(root_tar(SYSTEMS.get(kind, kind), refresh)) as tar:
        for member in sorted(tar.getmembers(), key=lambda member: member.name):
            name = member.name.removeprefix("./").strip("/")
            if name in ("", ".") or any(f"./{name}".startswith(folder) for folder in NOT_ARCHIVED):
                continue
            if member.isdir():
                archive.entry(name, stat.S_IFDIR | member.mode)
            elif member.issym():
                archive.entry(name, stat.S_IFLNK | 0o777, member.linkname.encode())
            elif member.isfile() or member.islnk():
                archive.entry(name, stat.S_IFREG | member.mode, tar.extractfile(member).read())


def add_work(archive, kind):
    """What the guest is to do, and its way to power off."""
    if kind == "systemd":
        archive.entry("init", stat.S_IFLNK | 0o777, b"lib/systemd/systemd")
        archive.entry("etc/machine-id", stat.S_IFREG | 0o444, b"0123456789abcdef0123456789abcdef\n")
        archive.entry("etc/systemd/system/work.service", stat.S_IFREG | 0o644, SYSTEMD_UNIT.encode())
        archive.entry("etc/systemd/system/multi-user.target.wants/work.service", stat.S_IFLNK | 0o777, b"../work.service")
        archive.entry("etc/systemd/system/default.target", stat.S_IFLNK | 0o777, b"/lib/systemd/system/multi-user.target")
        archive.entry("root/numeric.c", stat.S_IFREG | 0o644, PROGRAM.encode())
        archive.entry("root/work", stat.S_IFREG | 0o755, SYSTEMD_WORK.encode())
    else:
        archive.entry("init", stat.S_IFREG | 0o755, CPYTHON_INIT.format(suites=" ".join(SUITES[kind])).encode())
