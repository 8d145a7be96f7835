#!/usr/bin/python3
"""Debian's kernel mounts a file system on a disk, reads, writes and syncs: recorded,
replayed without the image, verified with checkpoints, and the disk as it was at the start
and at the end is what e2fsck and debugfs say."""
import os
import re
import shutil
import subprocess

from harness import CMDLINE, Test, skip


def interface(parser):
    parser.add_argument("--interface", choices=("ide", "ahci", "virtio"), required=True)


test = Test(__doc__, needs_kernel=True, extra=interface)
DRIVERS = {"ide": ("ata_piix", "sd_mod"), "ahci": ("ahci", "sd_mod"), "virtio": ("virtio_pci", "virtio_blk")}
DEVICE = "vda" if test.arguments.interface == "virtio" else "sda"
os.environ["PATH"] += ":/usr/sbin:/sbin"
for tool in ("mke2fs", "e2fsck", "debugfs"):
    if shutil.which(tool) is None:
        skip(f"no {tool} (package e2fsprogs)")

kernel = test.kernel()
modules = {}
for folder, _, names in os.walk(os.path.join(test.package(), "lib/modules")):
    for name in names:
        if name.endswith(".ko"):
            modules[name[:-3].replace("-", "_")] = os.path.join(folder, name)


def needed(name, order):
    """The module and what it depends on, in the order of loading. What is not there is built in."""
    if name not in modules or name in order:
        return
    with open(modules[name], "rb") as file:
        found = re.search(rb"\0depends=([^\0]*)\0", b"\0" + file.read())
    for other in filter(None, found.group(1).decode().split(",") if found else ()):
        needed(other.replace("-", "_"), order)
    order.append(name)


order = []
for driver in DRIVERS[test.arguments.interface]:
    needed(driver, order)
if not order:
    skip(f"the kernel {test.arguments.kernel} has no module for {test.arguments.interface}")

# The file system, and what is in it.
tree = test.path("tree")
os.makedirs(os.path.join(tree, "folder"))
with open(os.path.join(tree, "hello.txt"), "w", encoding="ascii") as file:
    file.write("hello from the disk\n")
with open(os.path.join(tree, "folder", "data.bin"), "wb") as file:
    file.write(bytes(n * n % 251 for n in range(300_000)))
image = test.path("disk.img")
subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image, "64M"], check=True, capture_output=True)
with open(image, "rb") as file:
    original = file.read()

init = test.path("init")
with open(init, "w", encoding="ascii") as file:
    file.write(f"""#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
for module in {" ".join(order)}; do busybox insmod /modules/$module.ko || echo "no $module"; done
tries=0
while [ ! -b /dev/{DEVICE} ] && [ $tries -lt 100 ]; do busybox usleep 100000; tries=$((tries+1)); done
mkdir /mnt
mount -t ext4 /dev/{DEVICE} /mnt && echo "MOUNTED"
cat /mnt/hello.txt
sha256sum /mnt/folder/data.bin
echo "written by the guest" > /mnt/new.txt
cp /mnt/folder/data.bin /mnt/copy.bin
rm /mnt/hello.txt
sync
echo "SYNCED"
umount /mnt && echo "UNMOUNTED"
poweroff -f
""")
busybox = os.path.join(test.package(), "busybox")
more = ["--busybox", busybox] if os.path.exists(busybox) else []
initramfs = test.initramfs("--init", init, *more, *(f"--add=modules/{name}.ko={modules[name]}" for name in order))


def record(name, *options):
    path, console = test.path(name + ".cvr"), test.path(name + ".txt")
    done = test.run("record", "-o", path, "--kernel", kernel, "--initrd", initramfs, "--append", CMDLINE, "--memory", "128M",
                    "--idle", "warp", "--serial", f"file:{console}", "--json", *options)
    with open(console, "rb") as file:
        text = file.read().decode(errors="replace")
    for wanted in ("MOUNTED", "hello from the disk", "SYNCED", "UNMOUNTED",
                   "  /mnt/folder/data.bin"):
        test.check(wanted in text, f"no {wanted!r} on the console: {text[-3000:]}", done)
    return path, text, test.json_of(done)


recording, text, report = record("disk", "--disk", f"{image},if={test.arguments.interface}")
checksum = subprocess.run(["sha256sum", os.path.join(tree, "folder/data.bin")], capture_output=True, check=True).stdout.split()[0].decode()
test.check(checksum in text, f"the guest read something else: {text[-1000:]}")
with open(image, "rb") as file:
    test.check(file.read() == original, "the image was written")
info = test.json_of(test.run("info", recording, "--json"))
disk = info["disks"][0]
test.check(0 < disk["bytes_embedded"] < len(original) / 8, f"embedded: {disk}")
print(f"{test.arguments.interface}: {report['instructions']:,} steps, {disk['blocks_embedded']} blocks embedded")

# Without the image.
away = image + ".away"
os.rename(image, away)
verified = test.json_of(test.run("verify", recording, "--json"))
test.check(verified["digest"] == report["digest"], f"verified to another state: {verified}")
replayed = test.run("replay", recording).stdout.decode(errors="replace").replace("\r", "")
test.check(text.replace("\r", "") in replayed or replayed in text, "the replay says something else")

# The disk as it was.
def files(at):
    out = test.path("out.img")
    test.run("export", recording, "--format", "raw", "--at", at, "--base", away, "-f", "-o", out)
    with open(out, "rb") as file:
        content = file.read()
    done = subprocess.run(["e2fsck", "-fn", out], capture_output=True, check=False)
    test.check(done.returncode == 0, f"the file system at {at} is not clean", done)
    def cat(path):
        return subprocess.run(["debugfs", "-R", f"cat {path}", out], capture_output=True, check=False).stdout
    return content, {name: cat(name) for name in ("/hello.txt", "/new.txt", "/copy.bin", "/folder/data.bin")}


content, there = files("start")
test.check(content == original, "the disk at the start is not the image")
test.check(there["/hello.txt"] == b"hello from the disk\n" and not there["/new.txt"], f"the files at the start: {there['/hello.txt']}")
content, there = files("end")
test.check(not there["/hello.txt"] and there["/new.txt"] == b"written by the guest\n"
           and there["/copy.bin"] == there["/folder/data.bin"] != b"", f"the files at the end: {there['/new.txt']}")
print("as the file system's own tools say")
