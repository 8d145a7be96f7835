"""A VNC viewer of few words, for tests."""
import select
import socket
import struct
import time

from harness import PATIENCE


class Viewer:
    """As much of RFB 3.8 as this takes. Source: RFC 6143."""

    def __init__(self, test, port, password=None):
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
        self.asked = False

    def take(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError("the server has closed the connection")
            data += more
        return data

    def update(self, seconds=None):
        """Asks for what has changed, and takes one answer, if one comes within `seconds`."""
        if not self.asked:
            self.socket.sendall(struct.pack(">BBHHHH", 3, 1, 0, 0, self.width, self.height))
            self.asked = True
        if seconds is not None and not select.select([self.socket], [], [], seconds)[0]:
            return
        kind = self.take(1)[0]
        if kind != 0:
            self.take(7 if kind == 3 else 5)
            return
        self.asked = False
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

    def type(self, text):
        """Characters that a US keyboard has without Shift."""
        for letter in text:
            self.key(0xff0d if letter == "\n" else ord(letter))
