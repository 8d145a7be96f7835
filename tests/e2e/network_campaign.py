#!/usr/bin/python3
"""Much traffic through one card, by user networking: bulk transfers both ways, many
connections, a flood of datagrams; and none to the host's loopback, which nobody has
allowed. Recorded with checkpoints and without, verified,
replayed from a checkpoint: all to the same states. With --unrecorded PROGRAM
(bench/run_unrecorded.cpp) also what recording costs, in turns."""
import json
import os
import resource
import socket
import statistics
import struct
import subprocess
import time
import zlib

from harness import PATIENCE, ROOT, Test
from network_guest import QUICK_CMDLINE, Recorder, free_port, initramfs, unpacked_kernel

MEMORY = 128 << 20
TICKS = os.sysconf("SC_CLK_TCK")


def extra(parser):
    parser.add_argument("--card", choices=("virtio", "e1000"), required=True)
    parser.add_argument("--mib", type=int, default=2, help="in each direction")
    parser.add_argument("--connections", type=int, default=40)
    parser.add_argument("--datagrams", type=int, default=20_000, help="of the flood")
    parser.add_argument("--unrecorded", metavar="PROGRAM", help="compare the speed with that of runs that are not recorded")
    parser.add_argument("--turns", type=int, default=3, help="of that comparison")
    parser.add_argument("--compared-mib", type=int, default=64, help="in each direction, of each of its runs")


test = Test(__doc__, needs_kernel=True, extra=extra)
subprocess.run(["gcc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O2", "-static", "-o", test.path("peer"),
                os.path.join(ROOT, "tests/e2e/guests/network_peer.c")], check=True)


def has_name_server():
    """Whether the host's first name server answers; libslirp passes questions on to it."""
    question = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\3deb\6debian\3org\0" + struct.pack(">HH", 1, 1)
    with open("/etc/resolv.conf", encoding="ascii") as file:
        servers = [line.split()[1] for line in file if line.startswith("nameserver ")]
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.settimeout(1)
            out.sendto(question, (servers[0], 53))
            return struct.unpack(">H", out.recv(512)[6:8])[0] > 0
    except (OSError, IndexError):
        return False


names = has_name_server()
secret = socket.create_server(("127.0.0.1", 0))
secret.setblocking(False)
LOOK_UP = "$b nslookup -type=a deb.debian.org 10.0.2.3 | $b grep -q Name && echo RESOLVED"
image = initramfs(test, test.arguments.card, f"""
$b ip link set eth0 up
$b udhcpc -i eth0 -n -q -s /lease || echo "NO LEASE"
$b ping -c 3 -w 10 10.0.2.2 | $b grep "packets received"
{LOOK_UP if names else ""}
$b nc -w 1 10.0.2.2 {secret.getsockname()[1]} < /dev/null; echo "LOOPBACK $?"
/network_peer
""", f"--add=network_peer={test.path('peer')}")
ports = {"tcp": free_port(), "udp": free_port()}
network = f"user,hostfwd=tcp::{ports['tcp']}-:7000,hostfwd=udp::{ports['udp']}-:7001"


class Unrecorded:
    """The same guest, run by the program that records nothing."""

    def __init__(self):
        self.console = open(test.path("unrecorded.txt"), "wb+")
        self.process = subprocess.Popen([test.arguments.unrecorded, unpacked_kernel(test), image, QUICK_CMDLINE, str(MEMORY), test.arguments.card, network],
                                        stdin=subprocess.DEVNULL, stdout=self.console, stderr=subprocess.PIPE)

    def wait_for(self, text, seconds=120):
        end = time.monotonic() + seconds * PATIENCE
        while text not in self.said():
            test.check(time.monotonic() < end and self.process.poll() is None, f"no {text!r}: {self.said()[-2000:]}")
            time.sleep(0.02)

    def said(self):
        with open(test.path("unrecorded.txt"), "rb") as file:
            return file.read().decode(errors="replace")

    def finish(self):
        _, report = self.process.communicate(timeout=120 * PATIENCE)
        test.check(self.process.returncode == 0, f"run_unrecorded: {report.decode()[-1000:]}")
        return json.loads(report.decode().splitlines()[-1])


def connect(order):
    peer = socket.create_connection(("127.0.0.1", ports["tcp"]), timeout=300 * PATIENCE)
    peer.sendall(order)
    return peer


def take(peer):
    data = bytearray()
    while piece := peer.recv(1 << 16):
        data += piece
    peer.close()
    return bytes(data)


def processor_seconds(process):
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def into_the_guest(mib):
    data = os.urandom(1 << 20) * mib
    peer = connect(b"i" + struct.pack("<Q", len(data)))
    peer.sendall(data)
    test.check(take(peer) == struct.pack("<I", zlib.crc32(data)), "the guest took other bytes")


def out_of_the_guest(mib):
    size = mib << 20
    data = take(connect(b"o" + struct.pack("<QQ", size, 7)))
    test.check(len(data) == size + 4 and zlib.crc32(data[:-4]) == struct.unpack("<I", data[-4:])[0], f"other bytes came, {len(data)}")


def many_connections(_mib):
    for number in range(test.arguments.connections):
        test.check(take(connect(bytes([ord("e"), number & 255]))) == bytes([number & 255]), f"connection {number}: another answer")


def flood(_mib):
    """@return how many of the datagrams came to the program"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        data = bytes(1000)
        for _ in range(test.arguments.datagrams):
            out.sendto(data, ("127.0.0.1", ports["udp"]))
    time.sleep(0.5)
    return struct.unpack("<Q", take(connect(b"u")))[0]


def drive(run, parts, mib):
    """Lets a running guest do `parts`. @return {part: (wall seconds, processor's, what it returned)}"""
    run.wait_for("LISTENING", 120)
    costs = {}
    for part in parts:
        wall, processor = time.monotonic(), processor_seconds(run.process)
        answer = part(mib)
        costs[part.__name__] = (time.monotonic() - wall, processor_seconds(run.process) - processor, answer)
    take(connect(b"q"))
    return costs


def recorded(name, *options):
    return Recorder(test, name, image, "--net", f"{network},model={test.arguments.card}", *options)


def check_replays(run, report):
    verified = test.json_of(test.run("verify", run.recording, "--json", seconds=3000))
    test.check(verified["digest"] == report["digest"], f"verified to another state: {verified}")
    positions = test.json_of(test.run("info", run.recording, "--json"))["checkpoint_positions"]
    if len(positions) > 1:
        done = test.run("replay", run.recording, "--from", positions[len(positions) // 2], "--serial", "none", seconds=3000)
        said = done.stderr.decode()
        test.check(f"{report['instructions']:,}" in said and "digests equal" in said, "the replay ends elsewhere", done)


everything = (into_the_guest, out_of_the_guest, many_connections, flood)
for name, options in (("with checkpoints", ()), ("without", ("--no-checkpoints",))):
    run = recorded(name.replace(" ", "-"), *options)
    costs = drive(run, everything, test.arguments.mib)
    report = run.finish(120)
    text = run.said()
    for wanted in ("LEASE 10.0.2.15 ROUTER 10.0.2.2", "3 packets received", "LOOPBACK 1", *(("RESOLVED",) if names else ())):
        test.check(wanted in text, f"no {wanted!r} on the console: {text[-3000:]}")
    card = report["network"][0]
    came = costs["flood"][2]
    # Each datagram came, or was dropped where somebody counted it: outside of the guest, or by its kernel.
    test.check(0 < came <= test.arguments.datagrams, f"{came} datagrams of the flood came")
    # Its clock never runs ahead of the host's, whatever else the host does.
    test.check(report["virtual_seconds"] <= report["seconds"] + 0.1, f"the guest's clock runs ahead: {report}")
    print(f"{test.arguments.card} {name}: {report['instructions']:,} steps in {report['seconds']:.1f} s, of which the guest saw "
          f"{report['virtual_seconds']:.1f}; {report['bytes']:,} bytes; network {card}")
    for part, (wall, processor, answer) in costs.items():
        print(f"  {part}: {wall:.2f} s, {processor:.2f} of the processor" + (f"; {answer}" if answer is not None else ""))
    check_replays(run, report)
    try:
        secret.accept()
        test.fail("the guest came to the host's loopback")
    except BlockingIOError:
        pass
    print("  verified, and replayed from a checkpoint" if not options else "  verified")
    os.unlink(run.recording)
print("the name server answered" if names else "no name server to ask")
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(f"largest process: {peak / 1024:.0f} MiB")

if test.arguments.unrecorded:
    times = {True: [], False: []}
    for turn in range(test.arguments.turns):
        for is_recorded in (True, False) if turn % 2 == 0 else (False, True):
            run = recorded(f"turn{turn}") if is_recorded else Unrecorded()
            costs = drive(run, (into_the_guest, out_of_the_guest), test.arguments.compared_mib)
            run.finish()
            times[is_recorded].append(costs)
            if is_recorded:
                os.unlink(run.recording)
    for part in ("into_the_guest", "out_of_the_guest"):
        speeds = []
        for what, number in (("", 0), (" of the processor", 1)):
            with_it, without = (statistics.median(costs[part][number] for costs in times[key]) for key in (True, False))
            speeds.append(f"{test.arguments.compared_mib / with_it:.1f} MiB a second{what} recorded, {test.arguments.compared_mib / without:.1f} not: ratio {without / with_it:.2f}")
            test.check(without >= 0.6 * with_it, f"{part}: recording is too slow: {speeds[-1]}")
        print(f"{part}: " + "; ".join(speeds))
