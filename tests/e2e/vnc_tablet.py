#!/usr/bin/python3
"""A viewer points and clicks by VNC in a guest that drives the tablet: the guest is told the
places where it was meant, also the first, and the pixel is white there. The recording has it,
verifies, and `replay --display` shows it to a viewer at the pace of virtual time: nothing before
its time, although the guest does next to nothing until then."""
import json
import os
import subprocess
import time

from harness import PATIENCE, ROOT, Test
from vnc_viewer import Viewer

WIDTH, HEIGHT = 320, 200
X, Y = 217, 83  # where the viewer clicks
SECONDS = 3  # that go by before the click

test = Test(__doc__)
guest = test.path("tablet32")
done = subprocess.run([os.path.join(ROOT, "tests/guests/build_guest"), os.path.join(ROOT, "tests/e2e/guests/tablet32.S"), guest],
                      capture_output=True, check=False)
test.check(done.returncode == 0, "the guest does not build", done)
display = 3000 + os.getpid() % 20000
recording, console = test.path("tablet.cvr"), test.path("console")


def seen(viewer):
    """The pixels that are white."""
    return [(x, y) for y, row in viewer.pixels.items() for x in range(len(row) // 4) if row[4 * x:4 * x + 3] == b"\xff\xff\xff"]


def whole(viewer):
    return (viewer.width, viewer.height, len(viewer.pixels)) == (WIDTH, HEIGHT, HEIGHT)


def look(viewer, seconds, until):
    end = time.monotonic() + seconds * PATIENCE
    while time.monotonic() < end and not until():
        viewer.update(0.1)
    return until()


program = subprocess.Popen([test.program, "record", "-o", recording, "--multiboot", guest, "--machine", "pc-2", "--memory", "4M", "--serial", "file:" + console,
                            "--display", f"vnc=127.0.0.1:{display}", "--no-index", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
try:
    viewer = Viewer(test, 5900 + display)
    test.check(look(viewer, 20, lambda: whole(viewer)), f"the screen is {viewer.width} by {viewer.height}")
    time.sleep(SECONDS)
    viewer.pointer(0, 100, 50)
    viewer.pointer(0, X, Y)
    viewer.pointer(1, X, Y)
    viewer.pointer(0, X, Y)
    test.check(look(viewer, 20, lambda: seen(viewer)) == [(X, Y)], f"the viewer clicked at {X}, {Y}; white is {seen(viewer)}")
    time.sleep(1)
    viewer.pointer(8, X, Y)
    report, _ = program.communicate(timeout=60 * PATIENCE)
finally:
    program.kill()
test.check(program.returncode == 0, f"the guest ended by {report}")
with open(console, encoding="ascii") as file:
    said = file.read()
events = [tuple(int(word, 16) for word in line.split()) for line in said.split("ready\n")[1].split("PASS")[0].splitlines()]


def middle(at, size):
    """Of a pixel, in the tablet's units."""
    return (2 * at + 1) * 0x4000 // size


wanted = [(3, 0, middle(100, WIDTH)), (3, 1, middle(50, HEIGHT)), (0, 0, 0),
          (3, 0, middle(X, WIDTH)), (3, 1, middle(Y, HEIGHT)), (0, 0, 0),
          (1, 0x110, 1), (0, 0, 0), (1, 0x110, 0), (0, 0, 0), (2, 8, 1)]
test.check(events == wanted, f"the guest was told {events}, not {wanted}")
inputs = json.loads(test.run("query", "inputs", recording, "--json").stdout)["inputs"]
test.check([entry["kind"] for entry in inputs if entry["kind"] != "wakeup"] == ["pointer"] * 5, f"the inputs are {inputs}")
test.run("verify", recording)

# Shown again, at the pace of then.
program = subprocess.Popen([test.program, "replay", recording, "--display", f"vnc=127.0.0.1:{display}"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
try:
    began = time.monotonic()
    viewer = Viewer(test, 5900 + display)
    test.check(look(viewer, 20, lambda: whole(viewer)), "no screen is shown of the recording")
    test.check(not seen(viewer), f"the pixel is white after {time.monotonic() - began:.1f} s")
    viewer.key(ord("a"))  # goes nowhere
    test.check(look(viewer, 20, lambda: seen(viewer)) == [(X, Y)], f"white in the replay is {seen(viewer)}")
    after = time.monotonic() - began
    test.check(after > SECONDS / 2, f"it came after {after:.1f} s, not {SECONDS}")
finally:
    said = program.stderr.read()
    program.wait(timeout=60 * PATIENCE)
test.check(program.returncode == 0 and b"digests equal" in said, f"the replay ended with {program.returncode}: {said}")
print(f"{len(events)} events of a tablet; the click was seen again after {after:.1f} s")
