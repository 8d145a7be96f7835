"""A TCP client that speaks frames on a switch's socket, in as little as one connection takes:
ARP, IPv4, and a stop-and-wait TCP that sends again after 100 ms. Nothing of the host's
network is part of it."""
import os
import select
import socket
import struct
import time

GUEST, OWN = bytes((10, 1, 0, 1)), bytes((10, 1, 0, 2))
MAC = bytes.fromhex("525400aabbcc")
BROADCAST = b"\xff" * 6
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
AGAIN_S = 0.1


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class FrameClient:
    """One connection to port 7000 of the guest."""

    def __init__(self, path, patience, look_before_open):
        """@param look_before_open called again and again until the connection is there"""
        self.wire = socket.socket(socket.AF_UNIX)
        self.wire.connect(path)
        self.patience, self.look = patience, look_before_open
        self.buffer = b""
        self.mac = None
        self.port = 20000 + os.getpid() % 20000
        self.sequence, self.expected = 1000, 0
        self.acknowledged = self.sequence
        self.received = b""
        self.open = False
        self.sent_again = 0

    # ---- frames ----------------------------------------------------------------------------
    def put(self, destination, kind, payload):
        frame = (destination + MAC + struct.pack(">H", kind) + payload).ljust(60, b"\0")
        self.wire.sendall(struct.pack(">I", len(frame)) + frame)

    def frames(self, seconds):
        """The frames that come within the time, one by one."""
        end = time.monotonic() + seconds
        while True:
            while len(self.buffer) >= 4:
                size = struct.unpack(">I", self.buffer[:4])[0]
                if len(self.buffer) < 4 + size:
                    break
                frame, self.buffer = self.buffer[4:4 + size], self.buffer[4 + size:]
                yield frame
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.wire], [], [], left)[0]:
                return
            got = self.wire.recv(1 << 16)
            if not got:
                raise ConnectionError("the switch is gone")
            self.buffer += got

    def ask_address(self):
        self.put(BROADCAST, 0x0806, struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + MAC + OWN + b"\0" * 6 + GUEST)

    def segment(self, flags, payload=b"", sequence=None):
        sequence = self.sequence if sequence is None else sequence
        options = struct.pack(">BBH", 2, 4, 1400) if flags & SYN else b""
        head = struct.pack(">HHIIBBHHH", self.port, 7000, sequence & 0xFFFFFFFF, self.expected & 0xFFFFFFFF,
                           (20 + len(options)) // 4 << 4, flags, 65535, 0, 0) + options
        pseudo = OWN + GUEST + struct.pack(">BBH", 0, 6, len(head) + len(payload))
        summed = checksum(pseudo + head + payload)
        head = head[:16] + struct.pack(">H", summed) + head[18:]
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(head) + len(payload), 0, 0, 64, 6, 0) + OWN + GUEST
        ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
        self.put(self.mac, 0x0800, ip + head + payload)

    def take(self, frame):
        kind = struct.unpack(">H", frame[12:14])[0]
        if kind == 0x0806 and frame[38:42] == OWN and frame[28:32] == GUEST:
            self.mac = frame[22:28]
            if frame[20:22] == b"\0\1":
                self.put(self.mac, 0x0806, struct.pack(">HHBBH", 1, 0x0800, 6, 4, 2) + MAC + OWN + self.mac + GUEST)
        elif kind == 0x0800 and frame[23] == 6 and frame[30:34] == OWN:
            ip = frame[14:14 + struct.unpack(">H", frame[16:18])[0]]
            head = (ip[0] & 15) * 4
            tcp = ip[head:]
            # A segment may have been damaged on its way.
            pseudo = ip[12:20] + struct.pack(">BBH", 0, 6, len(tcp))
            if len(tcp) < 20 or checksum(ip[:head]) != 0 or checksum(pseudo + tcp) != 0:
                return
            if struct.unpack(">HH", tcp[:4]) == (7000, self.port):
                self.take_segment(tcp)

    def take_segment(self, tcp):
        sequence, acknowledged = struct.unpack(">II", tcp[4:12])
        flags, payload = tcp[13], tcp[(tcp[12] >> 4) * 4:]
        if not self.open and not flags & SYN:
            return  # nobody listens yet
        if flags & RST:
            raise ConnectionError("the guest has reset the connection")
        if flags & FIN:
            raise ConnectionError("the guest has closed the connection")
        if flags & SYN and not self.open:
            self.expected, self.open = sequence + 1, True
            self.acknowledged = self.sequence = acknowledged
            self.segment(ACK)
            return
        self.acknowledged = max(self.acknowledged, acknowledged)
        if payload:
            if sequence == self.expected:
                self.received += payload
                self.expected += len(payload)
            self.segment(ACK, sequence=self.acknowledged)

    # ---- a connection ----------------------------------------------------------------------
    def until(self, done, again):
        """Calls `again` now and every 100 ms until done(). @return how long it took"""
        began = time.monotonic()
        first = True
        while not done():
            if time.monotonic() - began > self.patience:
                raise TimeoutError("no answer")
            if not self.open:
                self.look()
            again()
            self.sent_again += not first
            first = False
            for frame in self.frames(AGAIN_S):
                self.take(frame)
                if done():
                    break
        return time.monotonic() - began

    def connect(self):
        self.until(lambda: self.mac, self.ask_address)
        # The address may have been damaged on its way.
        self.until(lambda: self.open, lambda: (self.ask_address(), self.segment(SYN)))

    def request(self, payload, answer_bytes):
        """@return the answer, and how long it took"""
        self.received = b""
        sequence = self.sequence
        self.sequence += len(payload)

        def send():
            self.segment(ACK | PSH, payload, sequence=sequence)

        took = self.until(lambda: len(self.received) >= answer_bytes, send)
        return self.received, took
