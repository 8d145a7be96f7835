#!/usr/bin/python3
"""A stock 32-bit Debian kernel (PAE paging, 32-bit programs) is entered at its
32-bit entry point, recorded, verified, and debugged backwards with gdb."""
import os
import re
import subprocess

from gdb_session import Gdb
from harness import CMDLINE, SHA_OF_16_MIB, Test

test = Test(__doc__, needs_kernel=True)
kernel = test.kernel()
initramfs = test.initramfs("--busybox", os.path.join(test.package(), "busybox"))
recording, console = test.path("i386.cvr"), test.path("console.txt")
done = test.run("record", "-o", recording, "--kernel", kernel, "--initrd", initramfs, "--append", CMDLINE,
                "--memory", "256M", "--idle", "warp", "--serial", f"file:{console}", "--json")
with open(console, "rb") as file:
    text = file.read()
test.check(SHA_OF_16_MIB.encode() in text, f"no right checksum on the console: {text[-2000:]!r}", done)
report = test.json_of(done)
test.check(report["exit"]["reason"] == "poweroff", f"ended by {report['exit']}", done)
print(f"recorded: {report['instructions']:,} instructions, digest {report['digest']}")

verified = test.json_of(test.run("verify", recording, "--json"))
test.check(verified["digest"] == report["digest"], f"verified to another state: {verified}")
print("verified")

# The core is an ELF32 one with the kernel's addresses: gdb finds the code at eip there.
core = test.path("core")
test.run("export", recording, "--format", "vmcore", "-o", core)
headers = subprocess.run(["readelf", "-Whln", core], capture_output=True, check=False)
listing = headers.stdout.decode()
for wanted in ("ELF32", "Intel 80386", "NT_PRSTATUS", "VMCOREINFO"):
    test.check(wanted in listing, f"the core has no {wanted}", headers)
loads = [[int(number, 16) for number in row] for row in
         re.findall(r"LOAD +0x\w+ (0x\w+) (0x\w+) (0x\w+) ", listing)]
test.check(any(linear - physical == 0xC0000000 and physical <= 0x100000 < physical + size
               for linear, physical, size in loads), "the kernel's addresses are not in the core", headers)
end = report["instructions"]
line = test.run("export", recording, "--format", "trace", "--from", str(end - 1), "--to", str(end)).stdout.decode().split(None, 3)
test.run("export", recording, "--format", "vmcore", "--at", str(end - 1), "-f", "-o", core)
asked = subprocess.run(["gdb", "-batch", "-nx", "-ex", "info registers eip", "-ex", "x/15xb $eip", "-core", core], capture_output=True,
                       check=False, timeout=120)
code = bytes(int(b, 16) for b in re.findall(r"\t0x(\w\w)", asked.stdout.decode()))
test.check(code.startswith(bytes.fromhex(line[2])) and f"0x{int(line[1], 16):x}" in asked.stdout.decode(), f"not {line} at eip", asked)

done = test.run("symbols", recording, "-o", test.path("kernel.elf"), expect=3)
test.check(b"32-bit" in done.stderr, "symbols of a 32-bit kernel are refused for another reason", done)

Gdb(test, recording)("32-bit Linux", """
    equal(gdb.selected_inferior().architecture().name(), "i386", "the architecture")
    check("32-bit, CPL 0" in run("monitor when"), "at the end the kernel runs")
    check(value("$cr4") & 0x20, "with PAE"); equal(value("$efer") & 0x400, 0, "outside long mode")
    def state():
        return tuple(value("$" + name) & 0xffffffff for name in "eip esp ebp eax ebx ecx edx esi edi eflags".split())
    states = [state()]
    for _ in range(10):
        run("reverse-stepi"); states.append(state())
    check(len(set(states)) > 5, "the steps go somewhere: %r" % (states,))
    for expected in reversed(states[:-1]):
        run("stepi"); equal(state(), expected, "there and back")
    text = run("monitor walk %d" % states[0][0])
    check("PDPT" in text and "PD " in text and "PML4" not in text and "in a register" in text, "three levels: " + text)
    # The latest write to the top of the stack that the kernel ends on.
    top = states[0][1]
    run("watch *(int *) %d" % top)
    text = run("reverse-continue"); before = value("*(int *) %d" % top)
    run("stepi"); check(value("*(int *) %d" % top) != before, "the store is the next instruction: " + text)
    run("delete")
""", at="end", options=["--architecture", "i386"], before="set architecture i386")
print("debugged")
