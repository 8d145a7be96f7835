#!/usr/bin/python3
"""A guest counts over TCP while the machines that run it are killed, stopped and handed over,
and the links between them and to its client are cut and disturbed: no increment that was
answered is lost, none is applied twice, the one connection goes on, and what every machine
recorded is what a replay of it makes.

--kills N does it N times, in --lanes at once; --seed chooses when and what. The guest is a few
thousand instructions with a card; --linux takes a kernel with the same server instead."""
import json
import os
import random
import signal
import subprocess
import sys
import time

from harness import CMDLINE, PATIENCE, ROOT, Test
from network_guest import initramfs
from replica_relay import Relay
from replicas import Counter, Machines, counter32

# How much longer than usual its client may wait, with the machine to ourselves.
PROMISED_S = 1.0


def options(parser):
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--lanes", type=int, default=4, help="so many guests at once")
    parser.add_argument("--lane", action="store_true", help="be one of them")
    parser.add_argument("--linux", action="store_true", help="a Linux guest")
    parser.add_argument("--tcp", action="store_true", help="over TCP and TLS instead of Unix sockets")


test = Test(__doc__, needs_kernel=True, extra=options)
chance = random.Random(test.arguments.seed)
def summed(results):
    """What lanes found, as one."""
    print(f"{sum(result['counted'] for result in results)} increments, {sum(result['again'] for result in results)} segments sent "
          f"again; usually {max(result['usual'] for result in results):.1f} ms; outputs held "
          f"{max(result['held'] for result in results):.2f} ms at the median; {sum(result['verified'] for result in results)} "
          f"recordings verified; waits of more than {PROMISED_S} s: {sum(result['late'] for result in results)}")
    for what in sorted({what for result in results for what in result["happened"]}):
        print(f"{what}: {sum(result['happened'].get(what, 0) for result in results)} times, longest wait "
              f"{max(result['longest'].get(what, 0) for result in results):.0f} ms")


if not test.arguments.lane:
    lanes = min(test.arguments.lanes, test.arguments.kills)
    shares = [test.arguments.kills // lanes + (n < test.arguments.kills % lanes) for n in range(lanes)]
    rest = [f"--{word}" for word in ("linux", "tcp") if getattr(test.arguments, word)]
    at_work = []
    for n, share in enumerate(shares):
        at_work.append(subprocess.Popen([sys.executable, "-B", __file__, "--chronovisor", test.program, "--kernel", test.arguments.kernel,
                                         "--lane", "--kills", str(share), "--seed", str(test.arguments.seed * 1000 + n), *rest],
                                        stdout=subprocess.PIPE))
    found = []
    for lane in at_work:
        said = lane.communicate()[0].decode()
        if lane.returncode != 0:
            print(said)
            test.check(lane.returncode == 77, f"a lane failed: {' '.join(lane.args)}")
            sys.exit(77)
        found.append(json.loads(said.splitlines()[-1]))
    summed(found)
    # A few may be, of a machine that is not ours alone.
    test.check(sum(result["late"] for result in found) <= test.arguments.kills / 20, "the client waits too long")
    sys.exit(0)

machines = Machines(test)
key_file = test.path("key")
with open(key_file, "w", encoding="ascii") as file:
    file.write("a key for this test alone\n")


def guest():
    """What starts the guest, and its card."""
    if test.arguments.linux:
        counter = test.path("counter")
        built = subprocess.run(["gcc", "-O1", "-static", "-o", counter, os.path.join(ROOT, "tests/e2e/guests/counter.c")],
                               capture_output=True, check=False)
        test.check(built.returncode == 0, "the guest's program does not build", built)
        image = initramfs(test, "virtio", "$b ip address add 10.1.0.1/24 dev eth0\n$b ip link set eth0 up\n/counter\n",
                          f"--add=counter={counter}")
        return ["--kernel", test.kernel(), "--initrd", image, "--append", CMDLINE, "--memory", "96M"], ",model=virtio"
    return ["--multiboot", counter32(test), "--memory", "4M"], ""


class Node:
    """A machine: the first begins the run, each later one is the backup of the one before."""

    def __init__(self, number):
        self.number = number
        self.recording, self.control = test.path(f"n{number}.cvr"), test.path(f"c{number}")
        common = ["-o", self.recording, "--replicate", relay.address(number + 1), "--arbiter", f"file:{test.path('claim')}",
                  "--control", self.control, "--serial", "none"]
        if test.arguments.tcp:
            common += ["--psk-file", key_file]
        network = f"stream:unix:{segment}"
        if number == 0:
            self.process = machines.start("n0", "record", *common, *guest_options, "--net", network + card, "--no-index")
        else:
            self.process = machines.start(f"n{number}", "backup", "--listen", relay.behind(number), "--force", *common, "--net", network)

    def status(self):
        return machines.status(self.control)

    def stands(self):
        """@return whether it protects, or is protected; False: it has ended"""
        if self.process.poll() is not None:
            return False
        return True if self.status().get("state") == "guarded" else None

    def wait_until(self, done, what):
        machines.wait_until(done, f"{what} (n{self.number})", lambda: counter.count_for(0.03))

    def wait_for_guard(self):
        self.wait_until(lambda: self.stands() is not None, "guarded")
        machines.check(self.process.poll() is None, f"n{self.number} ended")
        return self.status()


class Verifications:
    """Replays of recordings that nobody writes any more, beside the rest."""

    def __init__(self):
        self.at_work, self.done = [], 0

    def add(self, node):
        self.at_work.append((node, machines.start(f"v{node.number}", "verify", node.recording, "--jobs", "1")))
        if len(self.at_work) > 3:
            self.finish_one()

    def finish_one(self):
        node, process = self.at_work.pop(0)
        # A recorder that was killed leaves a file without an end.
        status = process.wait(timeout=300 * PATIENCE)
        wanted = (0, 3) if node.process.returncode < 0 else (0,)
        equal = "equal from position" in machines.log(f"v{node.number}")
        machines.check(status in wanted and equal, f"n{node.number} does not verify")
        os.remove(node.recording)
        self.done += 1

    def finish(self):
        while self.at_work:
            self.finish_one()


relay = Relay(test, test.arguments.tcp)
guest_options, card = guest()
verifications = Verifications()
# The client's link is never quite whole.
switch, segment = machines.segment("--seed", str(test.arguments.seed), "--drop", "0.3", "--duplicate", "0.3", "--reorder", "0.3",
                                   "--corrupt", "0.1")
primary = Node(0)
counter = Counter(machines, segment, lambda: primary.process.poll() is None)


def stop(process, seconds):
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)


def take_over(expected):
    """The primary's process is, or will be, over: the backup is the primary, and has one."""
    global primary, backup, spare
    status = primary.process.wait(timeout=30 * PATIENCE)
    machines.check(status == expected, f"the primary n{primary.number} ends with {status}, not {expected}")
    verifications.add(primary)
    primary, backup = backup, spare
    spare = Node(backup.number + 1)


def session():
    return primary.status().get("backups", [{}])[0].get("session")


def settle(before, is_certain=True):
    """After a quarrel that either may have won: until a new session has begun, or the primary is
    over. One that nobody need have noticed is given a second."""
    end = time.monotonic() + 1
    primary.wait_until(lambda: primary.stands() is False or
                       primary.stands() and (session() != before or not is_certain and time.monotonic() > end), "guarded anew, or over")
    if primary.process.poll() is not None:
        take_over(5)


def quarrel(begin, is_certain=True):
    before = session()
    begin()
    settle(before, is_certain)


def kill_backup():
    global backup
    backup.process.kill()
    backup.process.wait()
    backup = Node(backup.number)


def kill_primary():
    primary.process.kill()
    counter.count_for(0.05)
    take_over(-signal.SIGKILL)


def stop_primary():
    primary.process.send_signal(signal.SIGSTOP)
    counter.count_for(0.05)
    primary.process.send_signal(signal.SIGCONT)
    take_over(5)


def kill_both():
    """First the primary; its backup as soon as it has gone on and is protected."""
    kill_primary()
    primary.wait_for_guard()
    kill_primary()


def hand_over():
    done = subprocess.run([test.program, "hand-over", primary.control], capture_output=True, check=False)
    machines.check(done.returncode == 0, f"no hand-over: {done.stderr.decode()}")
    take_over(0)


FAULTS = {
    "primary killed": kill_primary,
    "primary, then its successor killed": kill_both,
    "backup killed": kill_backup,
    "primary stopped": stop_primary,
    "backup stopped for 0.2 s": lambda: stop(backup.process, 0.2),
    "backup stopped for 0.7 s": lambda: quarrel(lambda: stop(backup.process, 0.7), False),
    "handed over": hand_over,
    "log's link cut": lambda: quarrel(relay.cut),
    "log's link late by 0.2 s": lambda: relay.hold(0.2),
    "log's link silent for 0.8 s": lambda: quarrel(lambda: relay.hold(0.8), False),
    "client's link stopped for 0.3 s": lambda: stop(switch, 0.3),
}

happened, longest, held, late = {}, {}, [], 0
usual = 0
try:
    counter.connect()
    counter.count_for(0.2)
    usual = sorted(counter.waits)[len(counter.waits) // 2]
    backup, spare = Node(1), Node(2)
    left = test.arguments.kills
    while left > 0:
        held.append(primary.wait_for_guard()["outputs"]["median_held_ms"])
        counter.count_for(chance.uniform(0.01, 0.15))
        what = chance.choice(list(FAULTS) + ["primary killed"] * 3)
        left -= 2 if "then" in what else 1
        before = len(counter.waits)
        FAULTS[what]()
        counter.count_for(0.03)
        happened[what] = happened.get(what, 0) + 1
        longest[what] = max(longest.get(what, 0), max(counter.waits[before:]) - usual)
        late += sum(wait > usual + PROMISED_S for wait in counter.waits[before:])
    spare.process.kill()
    primary.process.terminate()
    machines.check(primary.process.wait(timeout=60 * PATIENCE) == 0, "the survivor does not end well")
    verifications.add(primary)
    verifications.finish()
except (ConnectionError, TimeoutError, subprocess.TimeoutExpired) as error:
    test.fail(f"{error}: {machines.logs()}")
machines.kill_all()
print(json.dumps({"counted": counter.count_so_far, "again": counter.client.sent_again, "usual": usual * 1e3, "held": sorted(held)[len(held) // 2],
                  "happened": happened, "longest": {what: 1e3 * time_s for what, time_s in longest.items()}, "late": late,
                  "verified": verifications.done}))
