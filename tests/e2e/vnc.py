#!/usr/bin/python3
"""A viewer sees SeaBIOS' screen over VNC, types and clicks: the recording has it, and
replays equal. The server listens on loopback alone, unless it has a password."""
import json
import os
import signal
import socket
import struct
import subprocess
import time

from harness import PATIENCE, Test, skip

test = Test(__doc__)
firmware = json.loads(test.run("doctor", "--json").stdout)["firmware"]
if not firmware["bios-256k.bin"]["found"]:
    skip("SeaBIOS is not installed here (package seabios)")


class Viewer:
    """As much of RFB 3.8 as this takes. Source: RFC 6143."""

    def __init__(self, port, password=None):
        until = time.monotonic() + 20 * PATIENCE
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout=20 * PATIENCE)
                break
            except ConnectionRefusedError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
        test.check(self.take(12).startswith(b"RFB 003.00"), "no RFB server")
        self.socket.sendall(b"RFB 003.008\n")
        kinds = self.take(self.take(1)[0])
        self.kinds = list(kinds)
        if password is not None:
            return
        self.socket.sendall(b"\x01")
        test.check(struct.unpack(">I", self.take(4))[0] == 0, "the viewer is not let in")
        self.socket.sendall(b"\x01")
        self.width, self.height = struct.unpack(">HH", self.take(4))
        self.take(16)
        self.take(struct.unpack(">I", self.take(4))[0])
        self.socket.sendall(struct.pack(">BBHii", 2, 0, 2, 0, -223))  # raw, and another size
        self.pixels = {}

    def take(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError("the server has closed the connection")
            data += more
        return data

    def update(self):
        """Asks for what has changed, and takes one answer."""
        self.socket.sendall(struct.pack(">BBHHHH", 3, 1, 0, 0, self.width, self.height))
        kind = self.take(1)[0]
        if kind != 0:
            self.take(7 if kind == 3 else 5)
            return
        for _ in range(struct.unpack(">xH", self.take(3))[0]):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self.take(12))
            if encoding == -223:
                self.width, self.height = width, height
                self.pixels = {}
                continue
            data = self.take(width * height * 4)
            for row in range(height):
                self.pixels[y + row] = data[row * width * 4:(row + 1) * width * 4]

    def key(self, keysym):
        for down in (1, 0):
            self.socket.sendall(struct.pack(">BBHI", 4, down, 0, keysym))

    def pointer(self, buttons, x, y):
        self.socket.sendall(struct.pack(">BBHH", 5, buttons, x, y))


display = 3000 + os.getpid() % 20000
port = 5900 + display
recording = test.path("vnc.cvr")
program = subprocess.Popen([test.program, "record", "-o", recording, "--machine", "pc-2", "--memory", "32M", "--serial", "none",
                            "--display", f"vnc=127.0.0.1:{display}", "--no-index"], stderr=subprocess.PIPE)
try:
    viewer = Viewer(port)
    until = time.monotonic() + 60 * PATIENCE
    while (viewer.width, viewer.height) != (720, 400) or sum(any(b"".join((row[n:n + 3] for n in range(0, len(row), 400))))
                                                             for row in viewer.pixels.values()) < 4:
        test.check(time.monotonic() < until, f"the screen is {viewer.width} by {viewer.height}")
        viewer.update()
    viewer.key(ord("a"))
    viewer.key(0xff1b)
    viewer.pointer(0, 10, 10)
    viewer.pointer(1, 14, 12)
    viewer.pointer(0, 14, 12)
    time.sleep(1)
finally:
    program.send_signal(signal.SIGTERM)
    said = program.stderr.read()
    program.wait(timeout=60 * PATIENCE)
test.check(b"VNC viewers connect to 127.0.0.1:" in said, f"the place is not said: {said}")
info = json.loads(test.run("info", recording, "--json").stdout)
typed = sum(info["inputs"].values())
test.check(typed >= 7, f"only {typed} inputs were recorded")
test.run("verify", recording)

password = test.path("password")
with open(password, "w", encoding="ascii") as file:
    file.write("secret\n")
usual = ("record", "-o", test.path("no.cvr"), "--machine", "pc-2", "--serial", "none", "--display")
for place, more, word in (("vnc=0.0.0.0:1", (), b"not a loopback address"), ("vnc=0.0.0.0:1", ("--allow-remote",), b"--display-password"),
                          ("vnc=somewhere:1", (), b"no numeric IPv4 address"), ("vnc=127.0.0.1", (), b"vnc=ADDRESS:DISPLAY"),
                          ("vnc=127.0.0.1:x", (), b"no display number")):
    done = test.run(*usual, place, *more, expect=2)
    test.check(word in done.stderr, f"{place}: another refusal", done)
done = test.run("record", "-o", test.path("no.cvr"), "--multiboot", test.guest("interrupts64"), "--serial", "none",
                "--display", "vnc=127.0.0.1:1", expect=2)
test.check(b"has no screen" in done.stderr, "a display of a machine without a screen", done)
program = subprocess.Popen([test.program, "record", "-o", test.path("locked.cvr"), "--machine", "pc-2", "--memory", "32M", "--serial", "none",
                            "--display", f"vnc=127.0.0.1:{display}", "--display-password", password, "--no-index"], stderr=subprocess.DEVNULL)
try:
    locked = Viewer(port, password="secret")
    test.check(locked.kinds == [2], f"a viewer is let in by {locked.kinds}")
finally:
    program.send_signal(signal.SIGTERM)
    program.wait(timeout=60 * PATIENCE)
print(f"a screen of {viewer.width} by {viewer.height}, {typed} inputs")
