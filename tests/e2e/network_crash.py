#!/usr/bin/python3
"""A server in the guest crashes because of one packet among many, long after it came:
from the crash back to the packet, to its number, and to its bytes in a capture, by
gdb's last-write. With --document FILE the whole session is put into that document."""
import atexit
import os
import re
import select
import shutil
import struct
import subprocess
import time

from gdb_session import GDB
from harness import PATIENCE, ROOT, Test, skip
from network_guest import QUICK_CMDLINE, initramfs, unpacked_kernel

GUESTS = os.path.join(ROOT, "tests/e2e/guests")
MARKS = ("<!-- tests/e2e/network_crash.py --document writes from here -->", "<!-- to here -->")
HEADER_BYTES = 14 + 20 + 8  # of Ethernet, IP and UDP
NAME_AT = HEADER_BYTES + 2  # in the frame, behind the client's number and the name's length


def extra(parser):
    parser.add_argument("--packets", type=int, default=2000)
    parser.add_argument("--document", help="put what was typed and said between this file's marks")


test = Test(__doc__, needs_kernel=True, extra=extra)
if GDB is None:
    skip("gdb is not installed")
count = test.arguments.packets
bad = count * 3 // 4  # the malformed one; its client is heard of again at the very end
victim = 60
long_name = b"a name of 24 characters!"


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def datagram(number):
    """The frame of packet `number`: client, length of the name, the name."""
    client = victim if number in (bad, count) else number % 59
    name = f"sensor {client}".encode()
    if number == bad:
        name = long_name
    data = struct.pack("BB", client, len(name)) + name.ljust(30, b"\0")
    udp = struct.pack(">HHHH", 40000, 9000, 8 + len(data), 0) + data
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number & 0xffff, 0, 64, 17, 0, bytes((10, 1, 0, 2)), bytes((10, 1, 0, 1)))
    header = header[:10] + struct.pack(">H", checksum(header)) + header[12:]
    return bytes.fromhex("525400123456 525400aabbcc 0800") + header + udp


class Session:
    """Commands as one types them, in the test's folder, and what they say."""

    def __init__(self):
        os.mkdir(test.path("bin"))
        os.symlink(test.program, test.path("bin/chronovisor"))
        os.symlink(os.path.join(ROOT, "scripts/gdb/chronovisor.py"), test.path("chronovisor.py"))
        self.environment = dict(os.environ, PATH=f"{test.path('bin')}:{os.environ['PATH']}", LC_ALL="C.UTF-8", COLUMNS="200")
        self.lines = []

    def run(self, command):
        """One command's output; the session has the command and all of it."""
        done = subprocess.run(["bash", "-c", command], cwd=test.folder, env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, check=False)
        said = done.stdout.decode(errors="replace").replace("\r", "")
        said = "".join(line for line in said.splitlines(True) if not line.startswith("Running as user"))  # tshark, to root
        self.lines += ["$ " + command, *said.splitlines()]
        test.check(done.returncode == 0, f"{command}: exit status {done.returncode}: {said[-3000:]}")
        return said

    def remark(self, *lines):
        self.lines += ["", *lines]

    def write(self, document):
        with open(document, encoding="utf-8") as file:
            text = file.read()
        begin, end = (text.index(mark) for mark in MARKS)
        block = re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in self.lines))
        with open(document, "w", encoding="utf-8") as file:
            file.write(text[:begin + len(MARKS[0])] + "\n```\n" + block.strip() + "\n```\n" + text[end:])


class Debugger:
    """gdb in a session, a line at a time."""
    PROMPT = "(gdb) "

    def __init__(self, session, command):
        quiet = ("set confirm off", "set pagination off", "set width 0", "set height 0", "set debuginfod enabled off",
                 "set print entry-values no", f"directory {GUESTS}")
        self.session = session
        self.process = subprocess.Popen([GDB, "-nx", "-q", *(word for line in quiet for word in ("-iex", line)), *command.split()[1:]],
                                        cwd=test.folder, env=session.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        atexit.register(self.process.kill)
        session.lines.append("$ " + command)
        self.read()

    def read(self):
        """What is said up to the next prompt."""
        said, end = b"", time.monotonic() + 240 * PATIENCE
        while not said.endswith(self.PROMPT.encode()):
            there, _, _ = select.select([self.process.stdout], [], [], max(end - time.monotonic(), 0))
            piece = os.read(self.process.stdout.fileno(), 1 << 16) if there else b""
            test.check(piece, f"gdb does not go on: {said.decode(errors='replace')[-3000:]}; before: {self.session.lines[-20:]}")
            said += piece
        text = said.decode(errors="replace").replace("\r", "")[:-len(self.PROMPT)]
        self.session.lines += [line for line in text.splitlines() if not line.startswith("Source directories")]
        return text

    def say(self, *lines):
        """Types lines; those that begin with # are remarks. @return what gdb says to the last"""
        said = ""
        for line in lines:
            if line.startswith("#"):
                self.session.lines.append(line)
                continue
            self.session.lines.append(self.PROMPT + line)
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
            said = self.read()
        return said

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


with open(test.path("packets.pcap"), "wb") as file:
    file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
    for number in range(1, count + 1):
        at_us = number * 30
        frame = datagram(number)
        file.write(struct.pack("<IIII", at_us // 1_000_000, at_us % 1_000_000, len(frame), len(frame)) + frame)
subprocess.run(["gcc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-Og", "-g", "-fno-builtin-memcpy", "-static", "-no-pie",
                f"-ffile-prefix-map={GUESTS}=.", "-o", test.path("packet_server"), os.path.join(GUESTS, "packet_server.c")], check=True)
os.symlink(initramfs(test, "virtio", "$b ip address add 10.1.0.1/24 dev eth0\n$b ip link set eth0 up\n/packet_server",
                     f"--add=packet_server={test.path('packet_server')}"), test.path("server.img"))
os.symlink(unpacked_kernel(test), test.path("vmlinux"))

session = Session()
said = session.run(f"chronovisor record -o crash.cvr --kernel vmlinux --initrd server.img --append '{QUICK_CMDLINE}' --memory 128M "
                   "--net pcap:packets.pcap,start=3,model=virtio")
test.check(f"server: crashed after {count - 1} packets" in said, f"on the console: {said[-2000:]}")
session.run("chronovisor symbols crash.cvr -o kernel.sym")
session.remark("# The machine is off. What has crashed the server?")
gdb = Debugger(session, "gdb -q packet_server")
gdb.say("add-symbol-file kernel.sym",
        "target remote | chronovisor debug crash.cvr --at end --listen stdio 2>debug.log",
        "source chronovisor.py",
        "# Back to where the server noticed it.",
        "chronovisor last-reached crashed",
        "frame function take")
said = gdb.say("print clients[packet->client]")
test.check(long_name[:16].decode() in said, f"another client: {said}")
gdb.say("# Its pointer is made of text. Who stored that?",
        "chronovisor last-write clients[packet->client].count",
        "up",
        "print *packet")
said = gdb.say("print served")
test.check(f"= {bad}\n" in said, f"served: {said}")
gdb.say(f"# A name longer than its room, {count - bad:,} packets before the crash. Where did byte 16 of it come from?",
        "set $byte = &packet->name[16]",
        "chronovisor last-write *$byte",
        "# The kernel copied it to the program, a qword at a time, from:",
        "set $byte = (char *) $rsi + ((char *) $byte - (char *) $rdi)",
        "chronovisor last-write *$byte",
        "# And before that from:",
        "set $byte = (char *) $rsi + ((char *) $byte - (char *) $rdi)")
said = gdb.say("chronovisor last-write *$byte")
stored = re.search(r"by net0: received frame (\d+), byte (\d+), into 0x[0-9a-f]+ \(packet ([\d,]+)\)", said)
test.check(stored, f"gdb does not come to a packet: {said}")
test.check([int(stored[1]), int(stored[2])] == [bad, NAME_AT + 16], f"another byte: {stored[0]}")
number = int(stored[3].replace(",", ""))
gdb.say("# The card stored it when this packet had come:")
said = gdb.say(f"chronovisor packet {number}")
packet = (rf"{HEADER_BYTES + 32} bytes, 10\.1\.0\.2\.40000 > 10\.1\.0\.1\.9000 udp, 32 bytes\n")
there = re.search(rf"packet {number:,} came to net0 at position ([\d,]+): " + packet, said)
test.check(there, f"packet {number} is shown as {said}")
shown = bytes.fromhex("".join(re.findall(r"^  [0-9a-f]{4}  ([0-9a-f ]+)$", said, re.MULTILINE)).replace(" ", ""))
test.check(shown == datagram(bad), f"other bytes: {said}")
gdb.say(f"chronovisor seek packet:{number}")
said = gdb.say("print $position")
test.check(f"= {there[1].replace(',', '')}\n" in said, f"seek comes to {said}")
said = gdb.say("chronovisor events 1_000")
test.check(re.search(rf"{there[1]} +packet {number:,} to net0, ", said), f"events: {said}")
# What the guest sent is shown as well; the document does without.
listed = test.json_of(test.run("query", "packets", test.path("crash.cvr"), "--filter", "ether src 52:54:00:12:34:56", "--limit", "1", "--json"))
own = listed["packets"][0]
before = len(session.lines)
said = gdb.say(f"monitor packet {own['packet']}")
test.check(f"was sent by net0 at position {own['position']:,}: {own['length']} bytes, {own['text']}\n" in said, f"{own} is shown as {said}")
test.check("  0000  " in said and "52 54 00 12 34 56" in said, f"its bytes are not shown: {said}")
gdb.say("continue")
said = gdb.say("monitor events 1000")
test.check(f"packet {own['packet']} sent by net0, {own['length']} bytes: {own['text']}\n" in said, f"events: {said}")
del session.lines[before:]
gdb.end()

session.remark("# The same packet in the words of tcpdump and tshark.")
found = session.run("chronovisor query packets crash.cvr --filter 'udp[9] > 16'")
test.check(found.count("udp") == 1 and f"{number:,}" in found, f"the filter finds {found}")
session.run("chronovisor export crash.cvr --format pcapng -o crash.pcapng")
if shutil.which("tshark") or test.arguments.document:
    one = f"tshark -r crash.pcapng -Y 'frame.number == {number}'"
    said = session.run(one + " -T fields -e frame.number -e frame.comment -e ip.src -e udp.dstport -e data.data")
    test.check(f"packet {number}, position {there[1].replace(',', '')}" in said and long_name.hex() in said, f"tshark shows {said}")
    session.run(one + " -x")
print("\n".join(session.lines))
if test.arguments.document:
    session.write(test.arguments.document)
