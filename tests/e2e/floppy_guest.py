#!/usr/bin/python3
"""A guest in assembly reads and writes a floppy disk by DMA and by the FIFO, and SeaBIOS
starts one from it: recorded, replayed without the image, the disk as it was afterwards. What
the guest did to the controller is listed by port and by device."""
import json
import os
import struct
import subprocess

from harness import ROOT, Test

SECTOR, SECTORS = 512, 2880
test = Test(__doc__)
guest = test.path("floppy16")
done = subprocess.run([os.path.join(ROOT, "tests/guests/build_guest"), os.path.join(ROOT, "tests/e2e/guests/floppy16.S"), guest],
                      capture_output=True, check=False)
test.check(done.returncode == 0, "the guest does not build", done)
content = b"".join(struct.pack("<I", number << 16 | at) for number in range(SECTORS) for at in range(0, SECTOR, 4))
image = test.path("floppy.img")
with open(image, "wb") as file:
    file.write(content)


def number(cylinder, head, sector):
    return (cylinder * 2 + head) * 18 + sector - 1


def disk_of(recording, path):
    out = test.path("out.img")
    test.run("export", recording, "--format", "raw", "--base", path, "-f", "-o", out)
    with open(out, "rb") as file:
        return file.read()


recording = test.path("floppy.cvr")
usual = ["--flat", guest, "--memory", "2M", "--serial", "none", "--json"]
report = test.json_of(test.run("record", "-o", recording, "--floppy", image, "--checkpoint-every", "100000", *usual))
test.check(report["exit"]["reason"] == "debug-exit" and report["exit"]["code"] == 0, f"the guest is not content: {report['exit']}")
with open(image, "rb") as file:
    test.check(file.read() == content, "the image was written")
disk = json.loads(test.run("info", recording, "--json").stdout)["disks"][0]
test.check(disk["interface"] == "floppy" and disk["bytes"] == SECTORS * SECTOR, f"the disk is {disk}")

os.rename(image, image + ".away")
for options in ([], ["--jobs", "2"]):
    verified = json.loads(test.run("verify", recording, "--json", *options).stdout)
    test.check(verified["digest"] == report["digest"], f"verified to another state: {verified}")
bare = test.json_of(test.run("record", "-o", test.path("bare.cvr"), "--floppy", image + ".away", "--no-checkpoints", *usual))
test.check(bare["digest"] == report["digest"], "another state without checkpoints")

after = bytearray(content)
dma, fifo = number(5, 1, 7), number(5, 1, 9)
after[dma * SECTOR:dma * SECTOR + SECTOR] = struct.pack("<I", 0xfeedface) + content[198 * SECTOR + 4:199 * SECTOR]
after[fifo * SECTOR:(fifo + 1) * SECTOR] = bytes(n & 0xff for n in range(512, 0, -1))
test.check(disk_of(recording, image + ".away") == after, "the disk is another one afterwards")

# A protected one, a small one in a drive of its size, and what no drive takes.
done = test.run("record", "-o", test.path("protected.cvr"), "--floppy", image + ".away,readonly=on", *usual, expect=1)
test.check(test.json_of(done)["exit"]["code"] != 0, "a protected disk was written", done)
for options in (["--floppy", guest, "--floppy", guest, "--floppy", guest], ["--floppy", image + ".away,if=ide"]):
    test.run("record", "-o", test.path("no.cvr"), *usual, *options, expect=2)
with open(test.path("big.img"), "wb") as file:
    file.truncate(3 << 20)
done = test.run("record", "-o", test.path("no.cvr"), *usual, "--floppy", test.path("big.img"), expect=2)
test.check(b"2880 KiB" in done.stderr, "the largest floppy disk is not named", done)

# Who wrote what was read, and what the guest did to the controller.
found = json.loads(test.run("query", "writes", recording, "--address", "0x9010", "--first", "--json").stdout)["results"][0]
test.check(found["device"] == "floppy" and found["request"].startswith("READ DATA, drive 0, cylinder 0, head 0, sector 2"), f"written by {found}")
by_port = json.loads(test.run("query", "io", recording, "--port", "0x3f5", "--writes", "--json").stdout)
values = [entry["value"] for entry in by_port["accesses"]]
test.check(by_port["complete"] and values[4] == 0x10 and values[8] == 0x46, f"written to the FIFO: {values[:20]}")
test.check(all(entry["device"] == "floppy" and entry["access"] == "write" for entry in by_port["accesses"]), "another device's accesses")
started = [entry for entry in by_port["accesses"] if entry["position"] == found["started"]]
test.check(len(started) == 1 and started[0]["value"] == 0xff, f"what began the request is no write to the FIFO: {started}")
by_device = json.loads(test.run("query", "io", recording, "--device", "floppy", "--json", "--count").stdout)["count"]
test.check(by_device > by_port["count"], f"{by_device} accesses by device, {by_port['count']} by port")
text = test.run("query", "io", recording, "--port", "0x81", "--length", "3").stdout.decode()
test.check("write port 0x81 <- 0x00  floppy" in text, f"the text is {text}")
done = test.run("query", "io", recording, "--device", "toaster", expect=2)
test.check(b"floppy" in done.stderr and b"uart0" in done.stderr, "the devices that there are are not named", done)
test.run("query", "io", recording, expect=2)
test.run("query", "io", recording, "--port", "0x3f5", "--device", "floppy", expect=2)
memory = json.loads(test.run("query", "io", recording, "--mmio", "0xfee00000", "--length", "0x1000", "--json").stdout)
test.check(memory["count"] == 0, "accesses to a local APIC that nobody made")

# From the boot sector.
firmware = json.loads(test.run("doctor", "--json").stdout)["firmware"]
if all(firmware[name]["found"] for name in ("bios-256k.bin", "vgabios-stdvga.bin")):
    boot = test.path("boot.bin")
    subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-Ttext=0x7c00", "-Wl,-e,start",
                    "-Wl,--oformat=binary", os.path.join(ROOT, "tests/e2e/guests/boot_floppy.S"), "-o", boot], check=True)
    with open(boot, "rb") as file:
        sector = file.read()[:SECTOR]
    said = b"started from a floppy disk\n\0"
    bootable = test.path("bootable.img")
    with open(bootable, "wb") as file:
        file.write(sector.ljust(SECTOR, b"\0") + said)
        file.truncate(SECTORS * SECTOR)
    recording = test.path("boot.cvr")
    console = test.path("console")
    report = test.json_of(test.run("record", "-o", recording, "--floppy", bootable, "--memory", "32M", "--serial", "file:" + console, "--json"))
    with open(console, "rb") as file:
        test.check(file.read() == said[:-1], "it did not say what is in the second sector")
    test.check("started from a floppy disk" in test.run("export", recording, "--format", "screen-text").stdout.decode(), "not on the screen")
    written = disk_of(recording, bootable)
    at = number(1, 1, 3) * SECTOR
    test.check(written[at:at + len(said)] == said, "the sector was not written through the BIOS")
    test.run("verify", recording)
print("floppy: read, written, started from, asked")
