"""What the end-to-end tests of the network share: an initramfs whose guest brings up a
card, and a recorder that runs beside the test."""
import os
import re
import socket
import subprocess
import time

from harness import CMDLINE, PATIENCE

# What a kernel need not do in these tests, most of its boot: testing its ciphers, loading
# certificates, looking for ISA cards. From an ELF image it need not unpack itself either.
QUICK_CMDLINE = CMDLINE + " cryptomgr.notests noisapnp initcall_blacklist=load_system_certificate_list"
DRIVERS = {"virtio": ("virtio_pci", "virtio_net"), "e1000": ("e1000",)}

BEGIN = """#!/bin/busybox sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
for module in MODULES; do busybox insmod /modules/$module.ko || echo "no $module"; done
b=/bin/busybox
$b ip link set lo up
"""

LEASE = """#!/bin/busybox sh
[ "$1" = bound ] || exit 0
/bin/busybox ip address add $ip/24 dev $interface
/bin/busybox ip route add default via $router
echo "LEASE $ip ROUTER $router DNS $dns"
"""


def modules_for(test, *names):
    """Paths of modules by name, those of `names` and what they need, in the order of loading."""
    there = {}
    for folder, _, files in os.walk(os.path.join(test.package(), "lib/modules")):
        for file in files:
            if file.endswith(".ko"):
                there[file[:-3].replace("-", "_")] = os.path.join(folder, file)
    order = {}

    def add(name):
        if name not in there or name in order:
            return
        with open(there[name], "rb") as file:
            found = re.search(rb"\0depends=([^\0]*)\0", b"\0" + file.read())
        for other in filter(None, found.group(1).decode().split(",") if found else ()):
            add(other.replace("-", "_"))
        order[name] = there[name]

    for name in names:
        add(name)
    return order


def initramfs(test, card, script, *added):
    """A guest with the modules for `card` that runs `script`, then powers off."""
    modules = modules_for(test, *DRIVERS[card])
    test.check(modules, f"the kernel {test.arguments.kernel} has no module for {card}")
    init, lease = test.path(f"init-{card}"), test.path("lease")
    with open(init, "w", encoding="ascii") as file:
        file.write(BEGIN.replace("MODULES", " ".join(modules)) + script + "\npoweroff -f\n")
    with open(lease, "w", encoding="ascii") as file:
        file.write(LEASE)
    busybox = os.path.join(test.package(), "busybox")
    more = ["--busybox", busybox] if os.path.exists(busybox) else []
    return test.initramfs("--init", init, *more, f"--add=lease={lease}", *added,
                          *(f"--add=modules/{name}.ko={path}" for name, path in modules.items()))


def unpacked_kernel(test):
    """The kernel as an ELF image, which is entered by its PVH note."""
    return os.path.join(test.package(), "vmlinux")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Recorder:
    """`chronovisor record` of a Linux guest, running beside the test."""

    def __init__(self, test, name, image, *options):
        self.test = test
        self.recording, self.console = test.path(name + ".cvr"), test.path(name + ".txt")
        self.log = open(test.path(name + ".log"), "wb+")
        command = [test.program, "record", "-o", self.recording, "--kernel", unpacked_kernel(test), "--initrd", image,
                   "--append", QUICK_CMDLINE, "--memory", "128M", "--serial", f"file:{self.console}", "--json", *map(str, options)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)

    def said(self):
        try:
            with open(self.console, "rb") as file:
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def trouble(self, message):
        self.process.kill()
        self.process.wait()
        self.log.seek(0)
        self.test.fail(f"{message}; on the console: {self.said()[-3000:]}; the recorder: {self.log.read()[-2000:]}")

    def wait_for(self, text, seconds=60):
        end = time.monotonic() + seconds * PATIENCE
        while text not in self.said():
            if time.monotonic() > end or self.process.poll() is not None:
                self.trouble(f"no {text!r}")
            time.sleep(0.02)

    def finish(self, seconds=60):
        """@return the report"""
        try:
            out, _ = self.process.communicate(timeout=seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.trouble("the guest does not end")
        if self.process.returncode != 0:
            self.trouble(f"exit status {self.process.returncode}")
        return self.test.json_of(subprocess.CompletedProcess([], 0, out, b""))
