"""What lies between a primary and its backups in tests: it carries bytes both ways until it is
told to cut all connections, or to keep what comes for a while."""
import os
import select
import socket
import threading
import time


class Relay:
    """For each number an address, and one behind it, where the backup listens."""

    def __init__(self, test, tcp=False):
        self.test, self.tcp = test, tcp
        self.lock = threading.Lock()
        self.listeners, self.pairs, self.held_until = {}, {}, 0.0
        self.wake, self.woken = socket.socketpair()
        threading.Thread(target=self.loop, daemon=True).start()

    def behind(self, number):
        if self.tcp:
            return f"tcp:127.0.0.1:{20000 + (os.getpid() * 64 + number * 2) % 40000}"
        return f"unix:{self.test.path(f's{number}')}"

    def address(self, number):
        """Where a primary finds backup `number`; from here on somebody listens there."""
        if self.tcp:
            place = ("127.0.0.1", 20001 + (os.getpid() * 64 + number * 2) % 40000)
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            text = f"tcp:127.0.0.1:{place[1]}"
        else:
            place = self.test.path(f"r{number}")
            listener = socket.socket(socket.AF_UNIX)
            text = f"unix:{place}"
        with self.lock:
            if number in self.listeners:
                return text
            listener.bind(place)
            listener.listen(4)
            self.listeners[number] = listener
        self.wake.send(b"!")
        return text

    def cut(self):
        with self.lock:
            self.close_all()
        self.wake.send(b"!")

    def hold(self, seconds):
        with self.lock:
            self.held_until = time.monotonic() + seconds

    # ---- the thread ------------------------------------------------------------------------
    def close_all(self):
        for end in list(self.pairs):
            self.close(end)

    def close(self, end):
        other = self.pairs.pop(end, None)
        if other is not None:
            self.pairs.pop(other, None)
            other.close()
            end.close()

    def accept(self, number):
        near, _ = self.listeners[number].accept()
        kind, _, place = self.behind(number).partition(":")
        far = socket.socket() if kind == "tcp" else socket.socket(socket.AF_UNIX)
        try:
            far.connect(("127.0.0.1", int(place.rpartition(":")[2])) if kind == "tcp" else place)
        except OSError:
            near.close()
            far.close()
            return
        if kind == "tcp":
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pairs[near], self.pairs[far] = far, near

    def carry(self, end):
        try:
            data = end.recv(1 << 16)
            if data:
                self.pairs[end].sendall(data)
                return
        except OSError:
            pass
        self.close(end)

    def loop(self):
        while True:
            left = self.held_until - time.monotonic()
            if left > 0:
                time.sleep(left)
            with self.lock:
                numbers = {listener: number for number, listener in self.listeners.items()}
                watched = [self.woken, *numbers, *self.pairs]
            try:
                ready = select.select(watched, [], [])[0]
            except (OSError, ValueError):  # one was closed meanwhile
                continue
            if self.held_until > time.monotonic():
                continue
            with self.lock:
                for end in ready:
                    if end is self.woken:
                        end.recv(64)
                    elif end in numbers:
                        self.accept(numbers[end])
                    elif end in self.pairs:
                        self.carry(end)
