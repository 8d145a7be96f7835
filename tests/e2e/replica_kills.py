#!/usr/bin/python3
"""A guest counts over TCP while the machines that run it are killed, stopped and handed over:
no increment that was answered is lost, none is applied twice, the one connection goes on, and
what the survivor recorded is what a replay of it makes.

--kills N does it N times; --seed chooses when and what."""
import atexit
import json
import os
import random
import signal
import struct
import subprocess
import time

from frame_client import FrameClient
from harness import CMDLINE, PATIENCE, Test
from network_guest import initramfs


def options(parser):
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--tcp", action="store_true", help="over TCP and TLS instead of Unix sockets")


test = Test(__doc__, needs_kernel=True, extra=options)
chance = random.Random(test.arguments.seed)
segment = test.path("segment")
running = []


def start(name, *command):
    log = open(test.path(name + ".log"), "wb")
    process = subprocess.Popen([test.program, *map(str, command)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    running.append(process)
    return process


def kill_all():
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


atexit.register(kill_all)


def logs():
    text = ""
    for name in sorted(os.listdir(test.folder)):
        if name.endswith(".log"):
            with open(test.path(name), errors="replace") as file:
                text += f"\n== {name}\n" + file.read()[-1500:]
    return text


class Node:
    """A machine: the first begins the run, each later one is the backup of the one before."""

    def __init__(self, number):
        self.number = number
        self.recording, self.control = test.path(f"n{number}.cvr"), test.path(f"c{number}")
        common = ["-o", self.recording, "--replicate", self.address(number + 1), "--arbiter", f"file:{test.path('claim')}",
                  "--control", self.control, "--serial", "none"]
        if test.arguments.tcp:
            common += ["--psk-file", key_file]
        network = f"stream:unix:{segment}"
        if number == 0:
            self.process = start("n0", "record", *common, "--kernel", test.kernel(), "--initrd", image, "--append", CMDLINE,
                                 "--memory", "96M", "--net", network + ",model=virtio", "--no-index")
        else:
            self.process = start(f"n{number}", "backup", "--listen", self.address(number), *common, "--net", network)

    @staticmethod
    def address(number):
        if test.arguments.tcp:
            return f"tcp:127.0.0.1:{25000 + (os.getpid() * 16 + number) % 30000}"
        return f"unix:{test.path(f's{number}')}"

    def status(self):
        done = subprocess.run([test.program, "status", self.control, "--json"], capture_output=True, timeout=30 * PATIENCE, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def wait_for(self, state, seconds=60):
        end = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < end:
            status = self.status()
            if status.get("state") == state:
                return status
            count_for(0.05)
            test.check(self.process.poll() is None, f"n{self.number} ended: {logs()}")
        test.fail(f"n{self.number} is never {state}, but {self.status()}: {logs()}")


key_file = test.path("key")
with open(key_file, "w", encoding="ascii") as file:
    file.write("a key for this test alone\n")
counter = test.path("counter")
source = os.path.join(os.path.dirname(os.path.realpath(__file__)), "guests/counter.c")
built = subprocess.run(["gcc", "-O1", "-static", "-o", counter, source], capture_output=True, check=False)
test.check(built.returncode == 0, "the guest's program does not build", built)
image = initramfs(test, "virtio", "$b ip address add 10.1.0.1/24 dev eth0\n$b ip link set eth0 up\n/counter\n",
                  f"--add=counter={counter}")

start("switch", "switch", "--listen", f"unix:{segment}")
while not os.path.exists(segment):
    time.sleep(0.01)
primary = Node(0)
client = FrameClient(segment, 60 * PATIENCE, lambda: test.check(running[1].poll() is None, f"the guest does not start: {logs()}"))
counted, checksum, waits = 0, 1, []


def count():
    """One increment, whose answer must be the one and only right one."""
    global counted, checksum
    answer, took = client.request(struct.pack(">I", counted + 1), 8)
    counted += 1
    checksum = (checksum * 31 + counted) & 0xFFFFFFFF
    got = struct.unpack(">II", answer)
    test.check(got == (counted, checksum), f"increment {counted} is answered by {got}, expected {(counted, checksum)}: {logs()}")
    waits.append(took)
    return took


def count_for(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        count()


try:
    client.connect()
    count_for(0.2)
    usual = sorted(waits)[len(waits) // 2]
    backup = Node(1)
    happened, longest, held = {}, {}, []
    for n in range(test.arguments.kills):
        held.append(primary.wait_for("guarded")["outputs"]["median_held_ms"])
        count_for(chance.uniform(0.02, 0.3))
        what = chance.choice(("primary killed", "primary killed", "backup killed", "primary stopped", "handed over"))
        happened[what] = happened.get(what, 0) + 1
        before = len(waits)
        if what == "backup killed":
            backup.process.kill()
            backup.process.wait()
            count_for(0.1)
            primary.wait_for("alone")
            number = backup.number
            os.path.exists(test.path(f"s{number}")) and os.remove(test.path(f"s{number}"))
            backup = Node(number)
        else:
            if what == "primary killed":
                primary.process.kill()
                primary.process.wait()
            elif what == "primary stopped":
                primary.process.send_signal(signal.SIGSTOP)
            else:
                done = subprocess.run([test.program, "hand-over", primary.control], capture_output=True, check=False)
                test.check(done.returncode == 0, f"no hand-over: {done.stderr.decode()}: {logs()}")
            count_for(0.1)
            if what == "primary stopped":
                primary.process.send_signal(signal.SIGCONT)
            if what != "primary killed":
                status = primary.process.wait(timeout=30 * PATIENCE)
                wanted = 0 if what == "handed over" else 5
                test.check(status == wanted, f"after it was {what} the primary ends with {status}: {logs()}")
            primary, backup = backup, Node(backup.number + 1)
        longest[what] = max([longest.get(what, 0), *waits[before:]])
    primary.process.terminate()
    test.check(primary.process.wait(timeout=60 * PATIENCE) == 0, f"the survivor does not end well: {logs()}")
except (ConnectionError, TimeoutError) as error:
    test.fail(f"{error}: {logs()}")

if primary.number != 0:
    verified = test.json_of(test.run("verify", primary.recording, "--json"))
    test.check(verified["result"] == "identical", f"verified to {verified}")
print(f"{counted} increments, {client.sent_again} segments sent again; usually {usual * 1e3:.1f} ms; outputs held "
      f"{sorted(held)[len(held) // 2]:.2f} ms at the median")
for what, times in sorted(happened.items()):
    print(f"{what}: {times} times, longest wait {longest[what] * 1e3:.0f} ms")
