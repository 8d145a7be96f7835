#!/usr/bin/python3
"""The Linux kernel's own x86 self-tests run in a recorded guest and pass, the kernel's
log has no warning, and the recording verifies. On a 32-bit kernel the 32-bit ones run."""
import os
import re
import subprocess

from harness import ROOT, Test, skip

# Each program's failures are counted in its own words; TAP's "not ok" too. What is
# said of them comes at the end, when the kernel's messages no longer go between.
INIT = r"""#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
for program in /selftests/*; do
  $program > /tmp/output 2>&1
  status=$?
  failed=$(grep -cE '^\[FAIL|^not ok' /tmp/output)
  echo "selftest $(basename $program) status $status failed $failed of $(wc -l < /tmp/output) lines" >> /tmp/results
  if [ $status -ne 0 ] || [ $failed -ne 0 ]; then cat /tmp/output >> /tmp/results; fi
done
echo 1 > /proc/sys/kernel/printk
sleep 1
cat /tmp/results
echo "selftests done"
poweroff -f
"""

test = Test(__doc__, needs_kernel=True)
is_32_bit = test.arguments.kernel.endswith(":i386")
kernel = test.kernel()
fetched = subprocess.run([os.path.join(ROOT, "scripts/fetch-selftests")], capture_output=True, text=True, check=False)
if fetched.returncode != 0:
    skip(f"the self-tests cannot be fetched and built: {fetched.stderr.strip()[-300:]}")
folder = fetched.stdout.strip()
programs = sorted(name for name in os.listdir(folder) if name.endswith("_32") or (name.endswith("_64") and not is_32_bit))

with open(test.path("init"), "w", encoding="ascii") as file:
    file.write(INIT)
options = ["--init", test.path("init")]
if is_32_bit:
    options += ["--busybox", os.path.join(test.package(), "busybox")]
for name in programs:
    options += ["--add", f"selftests/{name}={os.path.join(folder, name)}"]
initramfs = test.path("initramfs.img")
test.run(initramfs, *options, program=os.path.join(ROOT, "scripts/build-initramfs"))

recording, console = test.path("selftests.cvr"), test.path("console.txt")
done = test.run("record", "-o", recording, "--kernel", kernel, "--initrd", initramfs, "--append",
                "console=ttyS0 panic=-1 nokaslr vsyscall=emulate", "--memory", "512M", "--idle", "warp", "--serial",
                f"file:{console}", "--json")
with open(console, encoding="utf-8", errors="replace") as file:
    text = file.read()
ran = dict(re.findall(r"^selftest (\S+) status (\d+ failed \d+) of", text, re.MULTILINE))
bad = sorted(name for name in programs if ran.get(name) != "0 failed 0")
test.check(not bad, f"did not run, or failed: {', '.join(bad)}\n{text[-6000:]}", done)
# A single step over SYSCALL that is reported in the wrong place is a warning of the
# kernel's before it is a failure of the program's.
warnings = re.findall(r"^.*(?:WARNING: |BUG: |Oops|Call Trace:|unexpected (?:#DB|debug)|unable to handle).*$", text, re.MULTILINE)
test.check(not warnings, "the kernel warned:\n" + "\n".join(warnings[:20]), done)
report = test.json_of(done)
test.check(report["exit"]["reason"] == "poweroff", f"ended by {report['exit']}", done)
print(f"{len(programs)} programs passed in {report['instructions']:,} instructions, {report['seconds']:.0f} s")
verified = test.json_of(test.run("verify", recording, "--json"))
test.check(verified["digest"] == report["digest"], f"verified to another state: {verified}")
