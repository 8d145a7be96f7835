#!/usr/bin/python3
"""A guest in assembly reads and writes a disk by PIO and DMA: the recording replays
without the image, its damage is found, a killed recorder leaves what can be replayed,
and who asks who wrote a byte is told of the disk, its request, and what began it."""
import json
import os
import signal
import struct
import subprocess
import time

from harness import ROOT, Test

SECTOR = 512
BLOCK_DATA = 0x80000000 | 18

test = Test(__doc__)
guest = test.path("disk16")
done = subprocess.run([os.path.join(ROOT, "tests/guests/build_guest"), os.path.join(ROOT, "tests/e2e/guests/disk16.S"), guest],
                      capture_output=True, check=False)
test.check(done.returncode == 0, "the guest does not build", done)


def sector(number):
    """Sector 0 begins with DISK; each dword of the others says where it is."""
    data = b"".join(struct.pack("<I", number << 16 | at) for at in range(0, SECTOR, 4))
    return b"DISK" + data[4:] if number == 0 else data


SECTORS = 256
image = test.path("disk.img")
content = b"".join(sector(n) for n in range(SECTORS))
with open(image, "wb") as file:
    file.write(content)


def record(name, *options, expect=0, **how):
    path = test.path(name)
    return path, test.run("record", "-o", path, "--flat", guest, "--memory", "2M", "--json", *options, expect=expect, **how)


recording, done = record("disk.cvr", "--disk", image, "--checkpoint-every", "2000")
report = test.json_of(done)
test.check(report["exit"]["reason"] == "debug-exit" and report["exit"]["code"] == 0, "the guest is not content", done)
with open(image, "rb") as file:
    test.check(file.read() == content, "the image was written")

info = test.json_of(test.run("info", recording, "--json"))
disk = info["disks"][0]
# Blocks 0, 1, 2 and 3 hold sectors 0 to 31, of which it read some or wrote parts.
test.check(disk["blocks_embedded"] == 4 and disk["interface"] == "ide" and disk["bytes"] == SECTORS * SECTOR
           and disk["file"] == image and not disk["referenced"], f"the disk is {disk}")
test.check(b"4 blocks" in test.run("info", recording).stdout, "info does not say what is embedded")

# Without the image.
os.rename(image, image + ".away")
for options in ([], ["--jobs", "1"], ["--from", "start"]):
    verified = test.json_of(test.run("verify", recording, "--json", *options))
    test.check(verified["digest"] == report["digest"], f"verified to another state: {verified}")
bare, done = record("bare.cvr", "--disk", image + ".away", "--no-checkpoints")
test.check(test.json_of(done)["digest"] == report["digest"], "another state without checkpoints", done)
test.run("verify", bare)

# Parts and copies have what they need.
packed = test.path("packed.cvr")
test.run("pack", recording, packed)
test.run("verify", packed)
middle = info["checkpoint_positions"][len(info["checkpoint_positions"]) // 2]
part = test.path("part.cvr")
test.run("trim", recording, part, "--from", middle)
test.run("verify", part)

# The disk as it was.
out = test.path("out.img")
done = test.run("export", recording, "--format", "raw", "-o", out, expect=3)
test.check(image.encode() in done.stderr and b"--base" in done.stderr, "the missing image is not named", done)
after = bytearray(content)
written = struct.pack("<I", 0xfeedface) + sector(0)[4:]
for number in (16, 24):
    after[number * SECTOR:(number + 1) * SECTOR] = written
for at, wanted in (("start", content), ("end", bytes(after))):
    test.run("export", recording, "--format", "raw", "--disk", "0", "--at", at, "--base", image + ".away", "-f", "-o", out)
    with open(out, "rb") as file:
        test.check(file.read() == wanted, f"the disk at {at} is another one")
test.run("export", recording, "--format", "raw", "--partial", "-f", "-o", out)
with open(out, "rb") as file:
    partial = file.read()
test.check(len(partial) == len(content) and partial[:32 * SECTOR] == after[:32 * SECTOR] and not any(partial[32 * SECTOR:]),
           "a partial disk has what was not recorded")
qcow = test.path("out.qcow2")
test.run("export", recording, "--format", "qcow2", "--base", image + ".away", "-o", qcow)
again, done = record("again.cvr", "--disk", f"{image}.away,format=raw,readonly=off,if=ide")
test.check(test.json_of(done)["digest"] == report["digest"], "another state of the same run", done)
for options in (["--disk", "7"], ["--base", image + ".away", "--partial"]):
    test.run("export", recording, "--format", "raw", "-f", "-o", out, *options, expect=2)

# What cannot be meant is said.
empty, done = record("empty.cvr", "--cdrom", "none", "--limit", "100")
done = test.run("export", empty, "--format", "raw", "-f", "-o", out, expect=2)
test.check(b"drive 0 is a CD-ROM drive that began without a disc" in done.stderr, "an empty drive is exported", done)
script = test.path("script")
with open(script, "w", encoding="ascii") as file:
    file.write("wait 1ms\nclick left\n")
_, done = record("click.cvr", "--machine", "pc-1", "--script", script, expect=2)
test.check(b'an input "mouse", and a machine of the model pc-1 has nothing that takes it' in done.stderr, "clicks on pc-1", done)
_, done = record("fake.cvr", "--disk", image + ".away,format=qcow2", expect=3)
test.check(b"format=raw" in done.stderr, "a raw image is taken for qcow2", done)

# Who wrote the word that a disk read went over?
address = 0x1f010
answer = json.loads(test.run("query", "writes", recording, "--address", hex(address), "--length", "4", "--json").stdout)
by = [(entry["by"], entry.get("device")) for entry in answer["results"]]
test.check(by == [("instruction", None), ("device", "ide")], f"{hex(address)} was written by {by}")
entry = answer["results"][1]
test.check(entry["request"] == "READ DMA, LBA 8, 8 sectors, into 0x1f000", f"the request is {entry}")
line = test.run("export", recording, "--format", "trace", "--from", entry["started"], "--to", entry["started"] + 1).stdout.decode()
test.check("out" in line, f"what began it is no OUT: {line}")
test.check(answer["results"][0]["position"] < entry["started"] < entry["position"], "the request begins where it cannot")
physical = json.loads(test.run("query", "writes", recording, "--address", hex(address), "--length", "4", "--physical", "--json").stdout)
test.check(physical["results"] == answer["results"], "another answer by physical address")
last = json.loads(test.run("query", "writes", recording, "--address", hex(address), "--last", "--no-index", "--json").stdout)
test.check(last["results"] == answer["results"][1:], "another last writer")
text = test.run("query", "writes", recording, "--address", hex(address)).stdout.decode()
test.check("by ide: READ DMA, LBA 8, 8 sectors, into 0x1f000; started at position" in text, f"the text is {text}")

# A byte of what was read, damaged.
with open(recording, "rb") as file:
    whole = bytearray(file.read())
at = 40
chunks = []
while whole[at:at + 4] == b"CVK\x9e":
    kind, = struct.unpack_from("<I", whole, at + 4)
    stored, = struct.unpack_from("<I", whole, at + 24)
    chunks.append((kind, at, stored))
    at += 56 + stored
data = [chunk for chunk in chunks if chunk[0] == BLOCK_DATA]
test.check(data, "there are no chunks of block data")
damaged = test.path("damaged.cvr")
whole[data[0][1] + 56 + data[0][2] // 2] ^= 1
with open(damaged, "wb") as file:
    file.write(whole)
done = test.run("verify", damaged, expect=3)
test.check(b"block data" in done.stderr + done.stdout or b"chunk" in done.stderr, "the damage is not named", done)

# The image is referred to: it is needed, and must be the same.
os.rename(image + ".away", image)
reference, done = record("reference.cvr", "--disk", image, "--reference-images")
test.check(test.json_of(done)["digest"] == report["digest"], "another state with the image referred to", done)
test.check(not test.json_of(test.run("info", reference, "--json"))["disks"][0]["blocks_embedded"], "blocks are embedded all the same")
test.run("verify", reference)
with open(image, "r+b") as file:
    file.seek(100 * SECTOR)
    file.write(b"changed")
done = test.run("verify", reference, expect=3)
test.check(image.encode() in done.stderr and b"changed" in done.stderr, "the changed image is not refused by name", done)
with open(image, "wb") as file:
    file.write(content)
test.run("verify", reference)

# What cannot be meant.
for options, status in ((["--disk", test.path("nothing.img")], 3), (["--disk", image + ",if=floppy"], 2),
                        (["--disk", image + ",colour=red"], 2), (["--disk", image, "-o", image], 2),
                        (["--disk", image] * 5, 2)):
    test.run("record", "-o", test.path("no.cvr"), "--flat", guest, *options, "-f", expect=status)

# A flight recording, and a run that goes on from the middle.
kept, done = record("kept.cvr", "--disk", image, "--keep", "1ms", "--checkpoint-every", "2000")
test.run("verify", kept)
live = test.path("live.cvr")
done = test.run("live", recording, "--at", middle, "-o", live, "--serial", "none", "--json")
test.check(test.json_of(done)["digest"] == report["digest"], "the run went on to another end", done)
test.run("verify", live)

# Killed while it records.
process = subprocess.Popen([test.program, "record", "-o", test.path("killed.cvr"), "--flat", guest, "--memory", "2M", "--disk", image,
                            "--idle", "wait", "--serial", "none"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
time.sleep(0.05)
process.send_signal(signal.SIGKILL)
process.wait()
if os.path.exists(test.path("killed.cvr")) and os.path.getsize(test.path("killed.cvr")) > 40:
    test.run("verify", test.path("killed.cvr"), expect=(0, 3))
print("disk: recorded, replayed, exported, damaged, asked")
