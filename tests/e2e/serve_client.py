"""A server for pages, and clients of it with nothing between them and the bytes."""
import base64
import hashlib
import json
import os
import select
import socket
import struct
import subprocess
import time
from urllib.parse import urlsplit

from harness import PATIENCE

SECONDS = 30 * PATIENCE


class Server:
    """`chronovisor serve`, started; its address, its token and what it said."""

    def __init__(self, test, *arguments):
        self.test = test
        self.log = open(test.path(f"serve-{time.monotonic_ns()}.log"), "w+b")
        self.process = subprocess.Popen([test.program, "serve", *map(str, arguments)], stdout=subprocess.PIPE,
                                        stderr=self.log)
        self.url = self.process.stdout.readline().decode().strip()
        if "#token=" not in self.url:
            self.process.wait(timeout=SECONDS)
            test.fail(f"no address, but {self.url!r}: {self.said()}")
        parts = urlsplit(self.url)
        self.host, self.port = parts.hostname, parts.port
        self.name = f"{self.host}:{self.port}"
        self.token = parts.fragment.removeprefix("token=")

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def line(self, seconds=SECONDS):
        return socket.create_connection((self.host, self.port), seconds)

    def memory(self):
        """Its resident memory, in bytes."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def end(self):
        self.process.terminate()
        self.has_ended()

    def has_ended(self):
        """It was told to; it does, and all was well."""
        try:
            status = self.process.wait(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.test.fail(f"the server does not end: {self.said()}")
        self.test.check(status == 0, f"the server ended with {status}: {self.said()}")
        self.process.stdout.close()


def exchange(server, data, seconds=SECONDS):
    """Sends bytes; what came until the other end closed, or nothing more did."""
    with server.line(seconds) as line:
        try:
            line.sendall(data)
        except OSError:
            pass  # it has closed already
        got = b""
        try:
            while piece := line.recv(65536):
                got += piece
        except (TimeoutError, ConnectionResetError):
            pass
        return got


def request(server, target="/", method="GET", host=None, body=b"", **headers):
    """One request of its own connection: (status, headers, body)."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {server.name if host is None else host}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return parted(exchange(server, "\r\n".join(lines).encode() + b"\r\n\r\n" + body))


def parted(answer):
    if not answer:
        return 0, {}, b""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, body


class Page:
    """A WebSocket as the page opens one."""

    def __init__(self, server, token=None, origin=None, host=None, protocols=None, open_it=True):
        self.server = server
        self.line = server.line()
        self.unread = b""
        self.notices = []
        self.last_id = 0
        key = base64.b64encode(os.urandom(16)).decode()
        protocols = protocols if protocols is not None else ["chronovisor.v1", f"token.{token or server.token}"]
        host = host or server.name
        lines = ["GET /api HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        if protocols:
            lines.append("Sec-WebSocket-Protocol: " + ", ".join(protocols))
        if origin != "":
            lines.append(f"Origin: {origin or 'http://' + host}")
        self.line.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.line.recv(4096)
            if not piece:
                break
            head += piece
        head, _, self.unread = head.partition(b"\r\n\r\n")
        self.status, self.headers, _ = parted(head + b"\r\n\r\n")
        if not open_it:
            return
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        server.test.check(self.status == 101 and self.headers.get("sec-websocket-accept") == accept and
                          self.headers.get("sec-websocket-protocol") == "chronovisor.v1",
                          f"no WebSocket, but {self.status} {self.headers}; {server.said()}")

    def send_frame(self, data, opcode=1):
        mask = os.urandom(4)
        size = len(data)
        head = bytes([0x80 | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", size)
        stream = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")
        self.line.sendall(head + mask + masked)

    def _exactly(self, size):
        while len(self.unread) < size:
            piece = self.line.recv(65536)
            if not piece:
                raise ConnectionError("the server has closed")
            self.unread += piece
        taken, self.unread = self.unread[:size], self.unread[size:]
        return taken

    def frame(self):
        """(opcode, data) of the next frame; pings are answered."""
        while True:
            first, second = self._exactly(2)
            size = second & 127
            if size == 126:
                size = struct.unpack(">H", self._exactly(2))[0]
            elif size == 127:
                size = struct.unpack(">Q", self._exactly(8))[0]
            data = self._exactly(size)
            opcode = first & 15
            while not first & 0x80:  # a message in several frames
                first, second = self._exactly(2)
                size = second & 127
                if size == 126:
                    size = struct.unpack(">H", self._exactly(2))[0]
                elif size == 127:
                    size = struct.unpack(">Q", self._exactly(8))[0]
                data += self._exactly(size)
            if opcode == 9:
                self.send_frame(data, 10)
                continue
            return opcode, data

    def message(self):
        opcode, data = self.frame()
        if opcode == 8:
            raise ConnectionError(f"closed with {struct.unpack('>H', data[:2])[0] if data else None}")
        return json.loads(data)

    def closed_with(self):
        """The code with which the server closes, or None when it just goes."""
        try:
            while True:
                opcode, data = self.frame()
                if opcode == 8:
                    return struct.unpack(">H", data[:2])[0] if data else None
        except OSError:
            return None

    def notify(self, method, **parameters):
        self.send_frame(json.dumps({"jsonrpc": "2.0", "method": method, "params": parameters}).encode())

    def begin(self, method, **parameters):
        self.last_id += 1
        self.send_frame(json.dumps({"jsonrpc": "2.0", "id": self.last_id, "method": method,
                                    "params": parameters}).encode())
        return self.last_id

    def answer(self, number):
        """The whole answer to a call; notifications before it are kept."""
        while True:
            message = self.message()
            if message.get("id") == number and "method" not in message:
                return message
            self.notices.append(message)

    def call(self, method, **parameters):
        message = self.answer(self.begin(method, **parameters))
        self.server.test.check("result" in message, f"{method} {parameters}: {message}")
        return message["result"]

    def notice(self, method, seconds=SECONDS):
        """The next notification of the kind; of those that came already, the first."""
        end = time.monotonic() + seconds
        while True:
            for number, message in enumerate(self.notices):
                if message.get("method") == method:
                    del self.notices[number]
                    return message["params"]
            left = end - time.monotonic()
            if left <= 0 or (not self.unread and not select.select([self.line], [], [], left)[0]):
                self.server.test.fail(f"no notification {method}; {self.server.said()}")
            self.notices.append(self.message())

    def quiet(self, seconds=0.3):
        """Whether nothing comes for a while."""
        return not self.unread and not select.select([self.line], [], [], seconds)[0]

    def close(self):
        self.line.close()
