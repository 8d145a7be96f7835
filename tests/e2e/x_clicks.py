#!/usr/bin/python3
"""A Debian with X (scripts/build-disk --x) is driven through VNC by a scripted viewer: a menu
is opened by a click and a second terminal started from it, text is typed into a window, a window
is dragged. It verifies; the screens at ten moments are in the recording what the viewer saw, to the
pixel; and from a pixel's colour `last-write` leads back to the instruction that drew it. Long:
not in the suite; see CONTRIBUTING.md."""
import json
import os
import signal
import subprocess
import time

from gdb_session import Gdb
from harness import ROOT, Test, skip
from png_picture import rows_of_png
from vnc_viewer import Viewer

test = Test(__doc__, extra=lambda parser: (
    parser.add_argument("--image", default=os.path.join(ROOT, ".cache/x.img"), help="made by scripts/build-disk --x"),
    parser.add_argument("--patience", type=int, default=1800, help="seconds until X is there"),
    parser.add_argument("--still", type=float, default=2, help="seconds without a change after which the guest has drawn what it will"),
    parser.add_argument("--pictures", default="", help="a folder for the ten screens"),
    parser.add_argument("--keep", default="", help="where the recording stays")))
image = test.arguments.image
if not os.path.exists(image):
    skip(f"there is no {image} (scripts/build-disk --x -o {image})")
display = 3000 + os.getpid() % 20000
recording = test.arguments.keep or test.path("x.cvr")
serial = test.path("serial")
program = subprocess.Popen([test.program, "record", "-o", recording, "-f", "--disk", f"{image},if=virtio", "--memory", "512M", "--serial",
                            "file:" + serial, "--display", f"vnc=127.0.0.1:{display}"],
                           stderr=open(test.path("stderr"), "wb"))
began = time.monotonic()
moments = []  # name, how many inputs were sent before it, the screen


class Person(Viewer):
    """Counts what it sends."""
    sent = 0
    last = (0, -1, -1)

    def key(self, keysym):
        super().key(keysym)
        self.sent += 2
        time.sleep(0.05)  # as a hand types: evdev drops what comes in one burst

    def pointer(self, buttons, x, y):
        super().pointer(buttons, x, y)
        self.sent += (buttons, x, y) != self.last
        self.last = (buttons, x, y)


def screen_of_png(png):
    """The pixels as the viewer has them, red, green, blue and nothing."""
    width, height, rows = rows_of_png(test, png)
    screen = bytearray(width * height * 4)
    for y in range(height):
        row = rows[y * (3 * width + 1) + 1:(y + 1) * (3 * width + 1)]
        for colour in range(3):
            screen[4 * width * y + colour:4 * width * (y + 1):4] = row[colour::3]
    return bytes(screen)


def picture_at(position, name):
    out = test.path("picture.png")
    if test.arguments.pictures:
        out = os.path.join(test.arguments.pictures, name.replace(" ", "-") + ".png")
    test.run("export", recording, "--format", "png", "--at", position, "-f", "-o", out, seconds=3600)
    with open(out, "rb") as file:
        return screen_of_png(file.read())


try:
    viewer = Person(test, 5900 + display)

    def look(seconds, until=lambda: False):
        """Takes pictures for so long, or until something is seen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            test.check(program.poll() is None, "the recorder has ended")
            viewer.update(0.1)
        return until()

    def pixel(x, y):
        return viewer.pixels[y][4 * x:4 * x + 3]

    def screen():
        return b"".join(viewer.pixels[y] for y in range(viewer.height))

    def white(x, y, width, height):
        return sum(1 for row in range(y, y + height) for column in range(x, x + width) if pixel(column, row) == b"\xff\xff\xff")

    def graphics():
        return viewer.height >= 600 and len(viewer.pixels) == viewer.height and white(60, 120, 100, 60) > 4000

    def moment(name):
        """What the viewer sees, when nothing has moved for a while."""
        last, since = screen(), time.monotonic()
        while time.monotonic() - since < test.arguments.still:
            viewer.update(0.1)
            if screen() != last:
                last, since = screen(), time.monotonic()
        moments.append((name, viewer.sent, last))
        print(f"{time.monotonic() - began:6.1f} s: {name}", flush=True)

    def drag(from_x, from_y, to_x, to_y, steps=10):
        """With the left button, which stays pressed."""
        viewer.pointer(0, from_x, from_y)
        look(0.2)
        viewer.pointer(1, from_x, from_y)
        for step in range(1, steps + 1):
            look(0.2)
            viewer.pointer(1, from_x + (to_x - from_x) * step // steps, from_y + (to_y - from_y) * step // steps)

    test.check(look(test.arguments.patience, graphics), f"no terminal of X is seen on a screen of {viewer.width} by {viewer.height}")
    look(3)
    moment("the first terminal")
    viewer.pointer(0, 100, 120)
    moment("the pointer in it")
    viewer.type("echo typed by a viewer")
    moment("text typed")
    viewer.type("\n")
    moment("its answer")
    viewer.pointer(0, 700, 300)
    look(0.3)
    viewer.pointer(1, 700, 300)
    moment("the menu")
    # The entry below the title: lines are as high as their font and four pixels.
    for y in range(302, 319, 4):
        viewer.pointer(1, 702, y)
        look(0.2)
    moment("an entry chosen")
    viewer.pointer(0, 702, 318)
    test.check(look(60, lambda: white(420, 420, 100, 60) > 4000), "the menu's entry opened no terminal")
    moment("the second terminal")
    title = 8 + next(y for y in range(20, 100) if pixel(200, y) != pixel(200, 10))
    drag(200, title, 400, title + 100)
    moment("a window under way")
    viewer.pointer(0, 400, title + 100)
    moment("dropped")
    viewer.pointer(0, 300, 250)
    look(0.3)
    viewer.type("exit\n")
    moment("and closed")
finally:
    program.send_signal(signal.SIGTERM)
    program.wait(timeout=300)
test.check(len(moments) == 10, f"{len(moments)} moments")
print(f"{os.path.getsize(recording):,} bytes")
verified = json.loads(test.run("verify", recording, "--jobs", "2", "--json", seconds=7200).stdout)
answer = json.loads(test.run("query", "inputs", recording, "--json").stdout)["inputs"]
inputs = [entry for entry in answer if entry["kind"] in ("key", "mouse", "pointer")]
kinds = [entry["kind"] for entry in inputs]
test.check(kinds.count("pointer") >= 20 and "mouse" not in kinds, f"the tablet was not used: {kinds}")
test.check(len(inputs) == viewer.sent, f"{len(inputs)} inputs are recorded, {viewer.sent} were sent")
for name, sent, seen in moments:
    at = inputs[sent]["position"] if sent < len(inputs) else "end"
    test.check(picture_at(at, name) == seen, f"{name}: the recording's screen at {at} is another one")
print(f"{len(moments)} screens are equal")

# Who drew the answer's first letter? The debugger knows where a pixel's memory is.
at = inputs[moments[3][1]]["position"]
typed, answered = moments[2][2], moments[3][2]
X, Y = next((x, y) for y in range(60, 260) for x in range(42, 100)
            if answered[4 * (x + viewer.width * y):][:3] == bytes(3) != typed[4 * (x + viewer.width * y):][:3])
Gdb(test, recording)("who drew a pixel", f"""
    import json
    def color(): return json.loads(run("monitor json pixel {X} {Y}"))["color"]
    pixel = json.loads(run("monitor json pixel {X} {Y}"))
    equal(pixel["color"], "#000000", "the pixel")
    found = json.loads(run("monitor json last-write phys %s %d" % (pixel["physical"], pixel["length"])))
    run("reverse-continue")
    check(color() != "#000000", "the pixel is there before it was drawn")
    run("x/2i $pc")
    run("monitor when")
    run("stepi")
    equal(color(), "#000000", "the instruction drew nothing")
""", at=at, seconds=7200)
