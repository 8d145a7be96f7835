#!/usr/bin/python3
"""An installed Debian (scripts/build-disk) starts through SeaBIOS, or OVMF, from a disk of
one kind: GRUB, systemd, a login by typed keys, a file that is written, and off. The recording
verifies without the image, on one worker and two; what was embedded of the image is little of
it. With --twice it is recorded again without checkpoints, to the same state. Long: not in the
suite; see CONTRIBUTING.md."""
import json
import os

from harness import LOGIN, ROOT, Test, skip

test = Test(__doc__, extra=lambda parser: (
    parser.add_argument("--image", default=os.path.join(ROOT, ".cache/disk.img"), help="made by scripts/build-disk"),
    parser.add_argument("--interface", default="virtio", choices=("ide", "ahci", "virtio")),
    parser.add_argument("--firmware", default="seabios", choices=("seabios", "ovmf")),
    parser.add_argument("--twice", action="store_true")))
image = test.arguments.image
if not os.path.exists(image):
    skip(f"there is no {image} (scripts/build-disk -o {image})")
seconds = 3600
script = test.path("script")
# UEFI leaves a screen of pixels, so that its text is seen on the serial line alone.
BIOS = LOGIN + """keys echo it is $((6*7)) > /root/note; sync; cat /root/note\\n
wait-screen it is 42
keys poweroff\\n
"""
UEFI = """wait-serial login:
wait 5s
keys root\\n
wait 3s
keys chronos\\n
wait 5s
keys echo it is $((6*7)) > /root/note; sync; cat /root/note > /dev/ttyS0\\n
wait-serial it is 42
keys poweroff\\n
"""
with open(script, "w", encoding="ascii") as file:
    file.write(BIOS if test.arguments.firmware == "seabios" else UEFI)
recording = test.path("installed.cvr")
serial = test.path("serial")
how = ["--disk", f"{image},if={test.arguments.interface}", "--memory", "512M", "--firmware", test.arguments.firmware,
       "--serial", "file:" + serial, "--script", script, "--json"]
done = test.run("record", "-o", recording, *how, seconds=seconds)
report = test.json_of(done)
test.check(report["exit"]["reason"] == "poweroff", f"the guest ended by {report['exit']}", done)
info = json.loads(test.run("info", recording, "--json").stdout)
embedded = info["disks"][0]["blocks_embedded"] * 4096
size = info["disks"][0]["bytes"]
test.check(embedded <= size // 10, f"{embedded} bytes of an image of {size} are embedded")
away = image + ".away"
os.rename(image, away)
try:
    for options in (["--jobs", "1"], ["--jobs", "2"]):
        verified = json.loads(test.run("verify", recording, "--json", *options, seconds=seconds).stdout)
        test.check(verified["digest"] == report["digest"], f"verified to another state: {verified}")
finally:
    os.rename(away, image)
if test.arguments.twice:
    bare = test.json_of(test.run("record", "-o", test.path("bare.cvr"), "--no-checkpoints", "--force", *how, seconds=seconds))
    test.check(bare["digest"] == report["digest"], "another state without checkpoints")
print(f"{test.arguments.firmware}, {test.arguments.interface}: {report['instructions']} steps, {os.path.getsize(recording)} bytes, {embedded} of {size} embedded")
