"""What the benchmarks share: the workload (a Debian kernel that counts, hashes
16 MiB and powers off), programs, and a table."""
import json
import os
import resource
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
COMMAND_LINE = "console=ttyS0 quiet panic=-1 nokaslr"
KERNEL = "linux-image-cloud-amd64"


def call(*command, seconds=1800):
    done = subprocess.run(list(map(str, command)), capture_output=True, timeout=seconds, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout.decode(errors="replace")


def processor_seconds(command, seconds=3600, ok=(0,)):
    """Runs a command; the processor time, user and system, of it and of its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in ok:
        sys.exit(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stderr.decode(errors='replace')[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# Boots, then works until the recording ends: for recordings of any length.
ENDLESS_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
while true; do
  dd if=/dev/zero bs=1M count=4 2>/dev/null | sha256sum
  i=0
  while [ $i -lt 5000 ]; do i=$((i+1)); done
  ps > /tmp/ps
  ls -lR /bin /proc/self > /tmp/ls
  sort /tmp/ls | md5sum
done
"""


class Workload:
    """The guest's files, in `folder`."""

    def __init__(self, folder, package=KERNEL, initramfs_options=(), memory="256M"):
        self.memory = memory
        self.kernel = call(os.path.join(ROOT, "scripts/fetch-kernel"), package).strip()
        self.initramfs = os.path.join(folder, "initramfs.cpio.gz")
        call(os.path.join(ROOT, "scripts/build-initramfs"), self.initramfs, *initramfs_options)
        self.folder = folder

    def record_arguments(self):
        return ["--kernel", self.kernel, "--initrd", self.initramfs, "--append", COMMAND_LINE, "--memory", self.memory,
                "--serial", "none", "--idle", "warp", "--json"]

    def qemu_arguments(self):
        """The same guest on QEMU, one thread of plain TCG."""
        return ["qemu-system-x86_64", "-m", self.memory, "-nographic", "-no-reboot", "-nic", "none",
                "-kernel", self.kernel, "-initrd", self.initramfs, "-append", COMMAND_LINE]

    def symbols(self, *names):
        """Addresses of kernel symbols; the link-time ones hold with nokaslr."""
        listed = call(os.path.join(ROOT, "scripts/kallsyms"), self.kernel)
        found = {}
        for line in listed.splitlines():
            words = line.split()
            if len(words) >= 3 and words[2] in names:
                found[words[2]] = int(words[0], 16)
        missing = set(names) - set(found)
        if missing:
            sys.exit(f"the kernel has no symbols {sorted(missing)}")
        return found


def record(program, workload, output, *options):
    """Records the workload; the report of `record --json`."""
    return json.loads(call(program, "record", "-f", "-o", output, *workload.record_arguments(), *options))


def find_program(build, name):
    path = os.path.join(build, name)
    if not os.access(path, os.X_OK):
        sys.exit(f"{path} is not there; build it first")
    return path


def table(rows, heads):
    """Prints rows of text in columns."""
    rows = [heads] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[n]) for row in rows) for n in range(len(heads))]
    for number, row in enumerate(rows):
        print("  ".join(cell.ljust(width) if n == 0 else cell.rjust(width)
                        for n, (cell, width) in enumerate(zip(row, widths))))
        if number == 0:
            print("  ".join("-" * width for width in widths))


def have(program):
    return shutil.which(program) is not None
