"""What the benchmarks share: the workload (a Debian kernel that counts, hashes
16 MiB and powers off), programs, and a table."""
import json
import os
import re
import resource
import shutil
import statistics
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


def counted_instructions(command):
    """Instructions that a command executes, by valgrind."""
    done = subprocess.run(["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--smc-check=all", *command],
                          stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return int(re.search(rb"I +refs: +([\d,]+)", done.stderr)[1].replace(b",", b""))


def in_turns(names, runs, once):
    """What `once(name)` gave, by name: `runs` times each, in turns, after a first time that warms up."""
    found = {name: [] for name in names}
    for turn in range(runs + 1):
        for name in names if turn % 2 == 0 else reversed(names):
            result = once(name)
            if turn > 0:
                found[name].append(result)
    return found


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


def add_machine_options(parser):
    parser.add_argument("--build", default=os.path.join(ROOT, "build/release"))
    parser.add_argument("--runs", type=int, default=5, help="of each that count (5)")
    parser.add_argument("--instructions", action="store_true", help="count instructions, once each")


def compare_machines(arguments, workload, variants):
    """Records the workload on machines, which are a name and options of `record`, and prints
    the speed of each beside that of the first."""
    if arguments.instructions and not have("valgrind"):
        sys.exit("--instructions needs valgrind (apt install valgrind)")
    program = find_program(arguments.build, "chronovisor")
    out = os.path.join(workload.folder, "out.cvr")
    names = list(variants)

    def steps_by(measure):
        """Steps, and what the recording of them took."""
        def once(name):
            taken = measure([program, "record", "-f", "-o", out, *workload.record_arguments(), *variants[name]])
            return json.loads(call(program, "info", out, "--json"))["end"], taken
        return once

    if arguments.instructions:
        each = {}
        for name in names:
            steps, executed = steps_by(counted_instructions)(name)
            each[name] = executed / steps
        table([(name, f"{each[name]:.3f}", f"{each[names[0]] / each[name]:.4f}") for name in names], ["", "instructions a step", "ratio"])
        return
    found = in_turns(names, arguments.runs, steps_by(processor_seconds))
    speeds = {name: [steps / seconds for steps, seconds in found[name]] for name in names}
    table([(name, f"{statistics.median(seconds for _, seconds in found[name]):.2f}", f"{statistics.median(speeds[name]) / 1e6:.0f}",
            f"{statistics.median(one / first for one, first in zip(speeds[name], speeds[names[0]])):.3f}") for name in names],
          ["", "seconds", "million steps a second", "ratio"])


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
