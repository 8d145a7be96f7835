"""What the end-to-end tests of fault tolerance share: machines that run beside the test, how
they stand, and the client of a guest that counts."""
import atexit
import json
import os
import signal
import socket
import struct
import subprocess
import time

from frame_client import FrameClient
from harness import PATIENCE, ROOT

READ, WRITE, SPIN = 1 << 31, 3 << 30, 5 << 29


class Machines:
    """Processes of the program, each with a log, and all of them gone at the end."""

    def __init__(self, test):
        self.test, self.running = test, []
        atexit.register(self.kill_all)

    def start(self, name, *command):
        with open(self.test.path(name + ".log"), "wb") as log:
            process = subprocess.Popen([self.test.program, *map(str, command)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        process.name = name
        self.running.append(process)
        return process

    def kill_all(self):
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()

    def log(self, name):
        with open(self.test.path(name + ".log"), errors="replace") as file:
            return file.read()

    def logs(self):
        names = sorted(name[:-4] for name in os.listdir(self.test.folder) if name.endswith(".log"))
        return "".join(f"\n== {name}\n{self.log(name)[-1500:]}" for name in names)[-20000:]

    def check(self, condition, message):
        self.test.check(condition, message + ": " + ("" if condition else self.logs()))

    def status(self, control):
        """How the machine with this control socket stands; {} while it does not say."""
        try:
            with socket.socket(socket.AF_UNIX) as asked:
                asked.settimeout(5 * PATIENCE)
                asked.connect(control)
                asked.sendall(b"status\n")
                return json.loads(asked.makefile().readline())
        except (OSError, ValueError):
            return {}

    def wait_until(self, done, what, meanwhile=lambda: time.sleep(0.03), seconds=60):
        """@return what done() says, once that is something"""
        end = time.monotonic() + seconds * PATIENCE
        while True:
            said = done()
            if said:
                return said
            self.check(time.monotonic() < end, f"never {what}")
            meanwhile()

    def segment(self, *faults):
        """A switch. @return its process, its socket"""
        place = self.test.path("segment")
        process = self.start("switch", "switch", "--listen", f"unix:{place}", *faults)
        self.wait_until(lambda: self.is_heard(place), "a switch")
        return process, place

    @staticmethod
    def is_heard(place):
        """Whether somebody listens at a socket."""
        with socket.socket(socket.AF_UNIX) as knock:
            return knock.connect_ex(place) == 0


def counter32(test):
    """The image of the guest that counts, without a system beneath it."""
    image = test.path("counter32")
    built = subprocess.run([os.path.join(ROOT, "tests/e2e/guests/build_counter32"), image], capture_output=True, check=False)
    test.check(built.returncode == 0, "the guest does not build", built)
    return image


class Counter:
    """The client of a guest that counts: each answer must be the one and only right one."""

    def __init__(self, machines, place, alive=lambda: True):
        """@param alive whether the guest may still come up"""
        self.machines = machines
        self.client = FrameClient(place, 60 * PATIENCE, lambda: machines.check(alive(), "the guest does not start"))
        self.count_so_far, self.sum, self.waits = 0, 1, []

    def connect(self):
        self.client.connect()

    def ask(self, request):
        """@return the two numbers that a request is answered with"""
        answer, took = self.client.request(struct.pack(">I", request), 8)
        self.waits.append(took)
        return struct.unpack(">II", answer)

    def count(self):
        got = self.ask(self.count_so_far + 1)
        self.count_so_far += 1
        self.sum = (self.sum * 31 + self.count_so_far) & 0xFFFFFFFF
        self.machines.check(got == (self.count_so_far, self.sum),
                            f"increment {self.count_so_far} is answered by {got}, expected {(self.count_so_far, self.sum)}")

    def count_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.count()
