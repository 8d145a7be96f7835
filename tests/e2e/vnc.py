#!/usr/bin/python3
"""A viewer sees SeaBIOS' screen over VNC, types and clicks: the recording has it, and
replays equal. The server listens on loopback alone, unless it has a password. Web pages and
others that speak no RFB are shut out, and viewers that are slow hold up nobody."""
import json
import os
import signal
import socket
import struct
import subprocess
import time

from harness import PATIENCE, Test, skip
from vnc_viewer import Viewer

test = Test(__doc__)
firmware = json.loads(test.run("doctor", "--json").stdout)["firmware"]
if not firmware["bios-256k.bin"]["found"]:
    skip("SeaBIOS is not installed here (package seabios)")

display = 3000 + os.getpid() % 20000
port = 5900 + display
recording = test.path("vnc.cvr")
UPGRADE = (b"GET /websockify HTTP/1.1\r\nHost: attacker.example\r\nOrigin: http://attacker.example\r\nUpgrade: websocket\r\n"
           b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary\r\n\r\n")
STRANGERS = (UPGRADE, UPGRADE[:9], b"POST / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x80\x2e\x01", b"$qSupported#37",
             b"RFB 004.000\n", b"SSH-2.0-x\r\n", bytes(64))


def connect():
    there = socket.create_connection(("127.0.0.1", port), timeout=20 * PATIENCE)
    test.check(there.recv(12) == b"RFB 003.008\n", "another greeting")
    return there


def shut_out_strangers():
    """Whoever speaks another protocol hears the greeting, and no more."""
    for said in STRANGERS:
        with connect() as stranger:
            stranger.sendall(said)
            try:
                answer = stranger.recv(4096)
            except ConnectionResetError:
                answer = b""
            test.check(answer == b"", f"{said[:20]} is answered: {answer[:80]}")


def slow_ones():
    """Viewers that say half of something, before they are let in and after."""
    slow = [connect() for _ in range(12)]
    for n, viewer in enumerate(slow):
        viewer.sendall(b"RFB 003.008\n"[:n])
    for message in (struct.pack(">BxxxI", 6, 1 << 20) + b"a", struct.pack(">BxH", 2, 1000), b"\x04\x01"):
        viewer = connect()
        viewer.sendall(b"RFB 003.008\n\x01\x01" + message)
        slow.append(viewer)
    return slow


program = subprocess.Popen([test.program, "record", "-o", recording, "--machine", "pc-2", "--memory", "32M", "--serial", "none",
                            "--display", f"vnc=127.0.0.1:{display}", "--no-index"], stderr=subprocess.PIPE)
try:
    viewer = Viewer(test, port)
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
    shut_out_strangers()
    slow = slow_ones()
    began = time.monotonic()
    another = Viewer(test, port)
    another.update()
    test.check(time.monotonic() - began < 5 * PATIENCE, f"a viewer waited {time.monotonic() - began:.1f} s for those that are slow")
    # Places are taken from those that have not logged in.
    silent = [socket.create_connection(("127.0.0.1", port), timeout=20 * PATIENCE) for _ in range(60)]
    Viewer(test, port).update()
finally:
    began = time.monotonic()
    program.send_signal(signal.SIGTERM)
    said = program.stderr.read()
    program.wait(timeout=60 * PATIENCE)
test.check(time.monotonic() - began < 10 * PATIENCE, f"the end took {time.monotonic() - began:.1f} s")
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
    locked = Viewer(test, port, password="secret")
    test.check(locked.kinds == [2], f"a viewer is let in by {locked.kinds}")
finally:
    program.send_signal(signal.SIGTERM)
    program.wait(timeout=60 * PATIENCE)
print(f"a screen of {viewer.width} by {viewer.height}, {typed} inputs")
