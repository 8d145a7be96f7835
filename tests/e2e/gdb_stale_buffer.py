#!/usr/bin/python3
"""The second demo (docs/DEVICES.md): a program's data is overwritten by a disk read into a
buffer that was given back. Three commands lead from the damage to the DMA, to what began it,
and to the code that set its address up."""
import os
import struct
import subprocess

from gdb_session import Gdb
from harness import ROOT, Test

test = Test(__doc__)
source = os.path.join(ROOT, "demo/reader")
program = test.path("reader")
done = subprocess.run(["gcc", "-m32", "-std=gnu11", "-O0", "-g", "-gno-column-info", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-pie",
                       "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fcf-protection=none", "-mgeneral-regs-only", "-nostdlib",
                       "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments",
                       "-Wl,-T," + os.path.join(ROOT, "tests/guests/guest.ld"), *(os.path.join(source, name) for name in ("start.S", "disk.c", "main.c")),
                       "-o", program], capture_output=True, check=False)
test.check(done.returncode == 0, "the program does not build", done)
image = test.path("ledger.img")
with open(image, "wb") as file:
    file.write(b"".join(struct.pack("<I", n) for n in range(128 * 1024 // 4)))
recording = test.path("reader.cvr")
done = test.run("record", "-o", recording, "--multiboot", program, "--memory", "8M", "--disk", image, "--serial", "none", "--json", expect=1)
test.check(test.json_of(done)["exit"]["code"] == 1, "the audit did not fail", done)

Gdb(test, recording, program)("who overwrote an account", """
    import re
    run("source %s")
    run("chronovisor last-reached audit_failed")
    # The sum is wrong since the accounts do not hold what they should.
    check(value("accounts[3].number") != 1003, "the first account is whole")

    # One: who wrote there? No instruction did.
    said = run("chronovisor last-write accounts[3].number")
    check("ide: READ DMA, LBA 64, 8 sectors, into" in said, "the request is not named: " + said)
    started = re.search(r"by the access at position ([\\d,]+)", said)
    check(started, "what began it is not named: " + said)

    # Two: what began it?
    run("chronovisor seek " + started.group(1).replace(",", ""))
    where = run("backtrace")
    check("begin" in where and "disk_poll" in where, "it was begun in " + where)
    equal(value("current.sector"), 64, "the request")

    # Three: who said where to?
    run("chronovisor last-write table[0].address")
    where = run("backtrace")
    check("disk_submit" in where and "read_ahead" in where and "main" in where, "the address comes from " + where)
    run("finish")
    run("finish")
    run("next")
    run("next")
    check(value("ahead.buffer") == 0, "the buffer was not given back")
""" % os.path.join(ROOT, "scripts/gdb/chronovisor.py"), at="end", options=("--architecture", "i386"))
