#!/usr/bin/python3
"""The core of a 32-bit guest is an ELF32 one: readelf and gdb read its registers and
its memory, with and without paging."""
import json
import re
import shutil
import subprocess

from harness import Test, skip

test = Test(__doc__)
GDB = shutil.which("gdb") or skip("gdb is not installed")
checked = 0
for name in ("paging32", "segments32", "triple_fault"):
    recording = test.path(name + ".cvr")
    test.run("record", "-f", "-o", recording, "--multiboot", test.guest(name), "--memory", "16M", "--serial", "none", expect=(0, 1))
    end = json.loads(test.run("info", recording, "--json").stdout)["end"]
    for place in sorted({end * n // 6 for n in range(6)}):
        line = test.run("export", recording, "--format", "trace", "--from", str(place), "--to", str(place + 1)).stdout.decode().split("\n")[0].split(None, 3)
        if len(line) < 3 or line[2] == "-":
            continue
        core = test.path("core")
        test.run("export", recording, "--format", "vmcore", "--at", str(place), "-f", "-o", core)
        listing = subprocess.run(["readelf", "-Whln", core], capture_output=True, check=False)
        text = listing.stdout.decode()
        test.check(listing.returncode == 0 and not listing.stderr, "readelf does not like the core", listing)
        for wanted in ("ELF32", "CORE (Core file)", "Intel 80386", "NT_PRSTATUS", "QEMU"):
            test.check(wanted in text, f"{name} at {place}: the core has no {wanted}", listing)
        eip = int(line[1], 16)
        asked = subprocess.run([GDB, "-batch", "-nx", "-ex", "info registers", "-ex", "x/15xb $eip", "-core", core],
                               capture_output=True, check=False, timeout=120)
        seen = asked.stdout.decode()
        test.check(re.search(rf"^eip +0x{eip:x}\b", seen, re.M), f"{name} at {place}: eip is not {eip:#x}", asked)
        test.check(re.search(r"^cs +0x[0-9a-f]+", seen, re.M) and re.search(r"^esp +0x", seen, re.M), "registers are missing", asked)
        # Memory is found by its linear address where that is the kernel's or there is no paging.
        code = bytes(int(b, 16) for b in re.findall(r"\t0x(\w\w)", seen))
        if code:
            test.check(code.startswith(bytes.fromhex(line[2])), f"{name} at {place}: memory at eip is {code.hex()}, not {line[2]}", asked)
            checked += 1
test.check(checked >= 6, f"only {checked} places were compared")
# Where the processor is in long mode nothing changes.
recording = test.path("long.cvr")
test.run("record", "-o", recording, "--multiboot", test.guest("interrupts64"), "--memory", "16M", "--serial", "none")
test.run("export", recording, "--format", "vmcore", "--at", "end", "-f", "-o", core)
test.check(b"ELF64" in subprocess.run(["readelf", "-h", core], capture_output=True, check=False).stdout, "a 64-bit guest's core")
print(f"{checked} places in 32-bit cores")
