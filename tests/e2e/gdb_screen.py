#!/usr/bin/python3
"""A debugger sees a screen's memory: it is read without changing it, gdb's own watchpoints
find who wrote there, in both directions, and so does last-write by linear and physical
address."""
from gdb_session import Gdb
from harness import Test

test = Test(__doc__)
guest = test.path("screen.bin")
with open(guest, "wb") as file:
    file.write(bytes.fromhex(
        "bac403 b80203ef b80402ef"  # planes 0 and 1, odd and even addresses
        "bace03 b80510ef b8060eef b808ffef"  # the window at B8000H, all bits
        "b800b8 8ed8 b90a00"        # DS = B800H, CX = 10
        "890e0400 e2fa f4"))        # MOV [4], CX; LOOP; HLT
recording = test.path("screen.cvr")
test.run("record", "-o", recording, "--flat", guest, "--machine", "pc-2", "--memory", "2M", "--serial", "none", expect=(0, 1))

Gdb(test, recording)("a screen's memory", """
    equal(value("*(short *) 0xb8004"), 1, "what the guest wrote last")
    end = value("$position")
    run("watch *(short *) 0xb8004")
    run("reverse-continue")  # the end of the recording, or the write
    if value("$position") == end: run("reverse-continue")
    equal(value("*(short *) 0xb8004"), 2, "before the last write")
    run("reverse-continue")
    equal(value("*(short *) 0xb8004"), 3, "before the one before")
    run("continue")
    equal(value("*(short *) 0xb8004"), 2, "forward again")
    run("delete")
    run("monitor seek end"); run("continue")
    said = run("monitor pixel 0 0")
    check("of 2 bytes at physical 0xb8000" in said, "pixel: " + said)
    check("the screen has 720 by 400 pixels" in run("monitor json pixel 720 0"), "a pixel that is not there")
    for words in ("0xb8004 2", "phys 0xb8004 2"):
        said = run("monitor last-write " + words)
        check("0x2" in said and "0x1" in said, "last-write %s: %s" % (words, said))
""", at="end")

# It set no mode: the screen is as a BIOS leaves it, with the characters that it wrote.
text = test.run("export", recording, "--format", "screen-text").stdout.decode()
test.check(text.startswith("  ☺"), f"the screen's text:\n{text}")
