#!/usr/bin/python3
"""SeaBIOS starts on pc-2: recorded from the first instruction, verified, seen on the
screen at several positions, typed to, and debugged at the reset vector."""
import json
import os
import re

from harness import Test, skip
from png_picture import rows_of_png

test = Test(__doc__)
firmware = json.loads(test.run("doctor", "--json").stdout)["firmware"]
if not all(firmware[name]["found"] for name in ("bios-256k.bin", "vgabios-stdvga.bin")):
    skip("SeaBIOS is not installed here (package seabios)")

recording = test.path("seabios.cvr")
log = test.path("seabios.log")
# It finds nothing to start, waits a minute of virtual time, and resets.
done = test.run("record", "-o", recording, "--machine", "pc-2", "--memory", "64M", "--serial", "none",
                "--no-reboot", "--debugcon", "file:" + log, "--json")
summary = test.json_of(done)
with open(log, encoding="ascii", errors="replace") as file:
    said = file.read()
for line in ("SeaBIOS (version", "Running on QEMU (i440fx)", "Found QEMU fw_cfg", "QEMU fw_cfg DMA interface supported",
             "PCI: init bdf=00:01.0 id=8086:7000", "PCI: init bdf=00:02.0 id=1234:1111", "PS2 keyboard initialized",
             "No bootable device"):
    test.check(line in said, f"SeaBIOS did not say \"{line}\":\n{said}")
test.check(re.search(r"Copying SMBIOS .* from", said) or "SMBIOS" in said, f"no SMBIOS tables:\n{said}")

test.run("verify", recording)


def screen(*options):
    return test.run("export", recording, "--format", "screen-text", *options).stdout.decode()


text = screen()
test.check("SeaBIOS (version" in text and "No bootable device" in text, f"the screen at the end:\n{text}")
# Before that, at half of the run, and at the first instruction.
end = summary["instructions"]
for kind in ("screen-text", "png"):
    done = test.run("export", recording, "--format", kind, "--at", "1", "-o", test.path("early"), expect=3)
    test.check(b"no mode was set yet" in done.stderr, "a screen before there is one", done)
picture = test.run("export", recording, "--format", "png", "-o", test.path("end.png"))
with open(test.path("end.png"), "rb") as file:
    width, height, pixels = rows_of_png(test, file.read())
test.check((width, height) == (720, 400), f"the picture is {width} by {height}")
lit = sum(1 for byte in pixels if byte != 0)
test.check(2000 < lit < 100_000, f"{lit} bytes of the picture are not black")

# The first instruction is that of the ROM, entered at the reset vector.
trace = test.run("export", recording, "--format", "trace", "--from", "start", "--to", "3").stdout.decode()
test.check("fff0" in trace.splitlines()[0], f"the first instructions:\n{trace}")

# A guest that was typed to: the key is in the recording, and the replay makes the same of it.
typed = test.path("typed.cvr")
script = test.path("script")
with open(script, "w", encoding="ascii") as file:
    file.write("wait-screen No bootable device\nkeys a<esc>\nmouse 3 4\nclick left\n")
first = test.json_of(test.run("record", "-o", typed, "--machine", "pc-2", "--memory", "64M", "--serial", "none", "--no-reboot",
                              "--script", script, "--json"))
test.check(first["input_events"] >= 6, f"only {first['input_events']} inputs were recorded")
test.run("verify", typed)
test.check(first["digest"] != summary["digest"], "the keys changed nothing")

# Without --no-reboot the reset after that minute starts it again, and the run goes on.
again = test.path("again.cvr")
log = test.path("again.log")
second = test.json_of(test.run("record", "-o", again, "--machine", "pc-2", "--memory", "64M", "--serial", "none",
                               "--limit", str(end + end // 2), "--debugcon", "file:" + log, "--json"))
test.check(second["instructions"] == end + end // 2, f"the run ended at {second['instructions']}")
with open(log, encoding="ascii", errors="replace") as file:
    starts = file.read().count("SeaBIOS (version") / said.count("SeaBIOS (version")
test.check(starts == 2, f"SeaBIOS started {starts} times")
test.run("verify", again)

# The debugger and queries see the screen's memory, and the ROM that the trace above is of.
found = json.loads(test.run("query", "writes", recording, "--address", "0xb8000", "--length", "2", "--physical",
                            "--count", "--json").stdout)
test.check(found["count"] > 0, f"no writes to the screen's memory: {found}")
trace = test.run("export", recording, "--format", "trace", "--from", "start", "--to", "20").stdout.decode()
test.check("(not mapped)" not in trace, f"code that cannot be read:\n{trace}")

# No images are needed to replay: they are in the recording.
info = json.loads(test.run("info", recording, "--json").stdout)
roles = [image["role"] for image in info["images"]]
test.check(roles == ["firmware", "video-bios"], f"images: {roles}")
test.run("record", "-o", test.path("x"), "--machine", "pc-2", "--firmware-dir", test.folder, expect=2)
for order in ("x", "aa", "d c"):
    done = test.run("record", "-o", test.path("x"), "--boot", order, expect=2)
    test.check(b"--boot " + order.encode() in done.stderr, "the boot order is not named", done)
print(f"SeaBIOS: {end} steps, {os.path.getsize(recording)} bytes, screen {width}x{height}")
