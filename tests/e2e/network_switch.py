#!/usr/bin/python3
"""Two recorded machines and a QEMU on one switch talk; each recorded one replays alone,
without the others and without the switch. While QEMU sends, the machine it sends to
stands still for seconds: TCP goes on, and the guest's clock shows less time than the
host's. What was said is in the packets, in tcpdump's words and in a capture."""
import atexit
import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time

from harness import PATIENCE, Test
from network_guest import QUICK_CMDLINE, Recorder, initramfs, unpacked_kernel

STANDSTILL = 2.5  # seconds
QEMU = shutil.which("qemu-system-x86_64")

test = Test(__doc__, needs_kernel=True)
socket = test.path("segment")
switch = subprocess.Popen([test.program, "switch", "--listen", f"unix:{socket}", "--for", "200", "--json"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
atexit.register(switch.kill)
while not os.path.exists(socket):
    test.check(switch.poll() is None, "the switch does not begin")
    time.sleep(0.02)

server_image = initramfs(test, "virtio", """
$b ip address add 10.1.0.1/24 dev eth0
$b ip link set eth0 up
dd if=/dev/urandom of=/out bs=4096 count=64 2>/dev/null
echo "OUT $(sha256sum < /out)"
(sleep 0.2; echo "LISTENING") &
$b nc -l -p 7000 < /out
[ QEMU = yes ] || poweroff -f
$b nc -l -p 7000 < /out
echo "UPLOADED $($b nc -l -p 7001 | sha256sum)"
""".replace("QEMU", "yes" if QEMU else "no"))


def client_script(address, more=""):
    return f"""
$b ip address add {address}/24 dev eth0
$b ip link set eth0 up
$b ping -c 1 -w 5 10.1.0.1 | $b grep "packets received"
echo "IN $($b nc 10.1.0.1 7000 | sha256sum)"
{more}
"""


class Qemu:
    """The same kernel on QEMU, plugged into the switch by its own words."""

    def __init__(self, image):
        self.console = test.path("qemu.txt")
        self.process = subprocess.Popen(
            [QEMU, "-accel", "tcg", "-m", "128", "-display", "none", "-monitor", "none", "-no-reboot", "-serial", f"file:{self.console}",
             "-kernel", unpacked_kernel(test), "-initrd", image, "-append", QUICK_CMDLINE,
             "-netdev", f"stream,id=n0,server=off,addr.type=unix,addr.path={socket}", "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:00:00:03"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        atexit.register(self.process.kill)

    def said(self):
        with open(self.console, "rb") as file:
            return file.read().decode(errors="replace")

    def wait_for(self, text, seconds=100):
        end = time.monotonic() + seconds * PATIENCE
        while not os.path.exists(self.console) or text not in self.said():
            test.check(time.monotonic() < end and self.process.poll() is None, f"QEMU: no {text!r}")
            time.sleep(0.02)

    def finish(self):
        out, _ = self.process.communicate(timeout=100 * PATIENCE)
        test.check(self.process.returncode == 0, f"QEMU: exit status {self.process.returncode}: {out.decode()[-1000:]}")


server = Recorder(test, "server", server_image, "--net", f"stream:unix:{socket},model=virtio,mac=52:54:00:00:00:01")
server.wait_for("LISTENING")
client_image = initramfs(test, "virtio", client_script("10.1.0.2"))
client = Recorder(test, "client", client_image, "--net", f"stream:unix:{socket},model=virtio,mac=52:54:00:00:00:02")
reports = {client: client.finish()}
if QEMU:
    qemu = Qemu(initramfs(test, "virtio", client_script("10.1.0.3", """
dd if=/dev/urandom of=/up bs=4096 count=16 2>/dev/null
echo "UP $(sha256sum < /up)"
sleep 0.5
$b nc 10.1.0.1 7001 < /up
echo "SENT AGAIN $($b awk '/^Tcp: [0-9]/ { print $13 }' /proc/net/snmp)"
""")))
    qemu.wait_for("UP ")
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(STANDSTILL)
    server.process.send_signal(signal.SIGCONT)
    qemu.finish()
reports[server] = server.finish()
switch.terminate()
switch.wait(timeout=30)

sent = re.search(r"OUT ([0-9a-f]{64})", server.said())
test.check(sent, f"on the server's console: {server.said()[-2000:]}")
for wanted in ("1 packets received", f"IN {sent[1]}"):
    test.check(wanted in client.said(), f"no {wanted!r} on the client's console: {client.said()[-2000:]}")
if QEMU:
    test.check(f"IN {sent[1]}" in qemu.said(), f"on QEMU's console: {qemu.said()[-2000:]}")
    up, again = re.search(r"UP ([0-9a-f]{64})", qemu.said()), re.search(r"SENT AGAIN (\d+)", qemu.said())
    test.check(up and f"UPLOADED {up[1]}" in server.said(), f"QEMU's bytes are others: {server.said()[-2000:]}, {qemu.said()[-2000:]}")
    test.check(again and int(again[1]) > 0, f"QEMU sent nothing again: {qemu.said()[-2000:]}")
    behind = reports[server]["seconds"] - reports[server]["virtual_seconds"]
    test.check(behind > STANDSTILL - 0.1, f"the guest's clock went on while it stood still: {reports[server]}")
    print(f"QEMU sent {again[1]} segments again; the guest's clock is {behind:.1f} s behind")
else:
    print("without a QEMU, which is not installed here (scripts/setup)")
for recorder, report in reports.items():
    verified = test.json_of(test.run("verify", recorder.recording, "--json"))
    test.check(verified["digest"] == report["digest"], f"verified to another state: {verified}")

# What was said, in tcpdump's words.
def packets(recorder, expression, *more):
    done = test.run("query", "packets", recorder.recording, "--filter", expression, "--json", *more)
    return json.loads(done.stdout)["packets"]


opening = "host 10.1.0.2 and (arp or tcp[tcpflags] & (tcp-syn | tcp-ack) = tcp-syn)"
first = {recorder: packets(recorder, opening) for recorder in (client, server)}
for recorder, found in first.items():
    test.check(any("who has 10.1.0.1" in packet["text"] for packet in found), f"no ARP: {found}")
sent_syn, came_syn = ([packet for packet in first[recorder] if "[SYN]" in packet["text"]] for recorder in (client, server))
test.check([len(sent_syn), len(came_syn)] == [1, 1], f"{sent_syn}, {came_syn}")
test.check(sent_syn[0]["direction"] == "sent" and came_syn[0]["direction"] == "received", f"{sent_syn}, {came_syn}")
refused = test.run("query", "packets", client.recording, "--filter", "no such words", expect=2)
test.check(b"--filter" in refused.stderr, "another refusal", refused)

# A place, by its number.
number = came_syn[0]["packet"]
part = test.run("query", "packets", server.recording, "--from", f"packet:{number}", "--limit", "1", "--json")
there_first = json.loads(part.stdout)["packets"][0]
test.check(there_first["position"] == came_syn[0]["position"], f"packet:{number} is {there_first}")
asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "seek", "params": {"place": f"packet:{number}"}}) + "\n"
there = json.loads(test.run("api", server.recording, given=asked.encode()).stdout.splitlines()[0])
test.check(there["result"]["position"] == there_first["position"], f"a program comes to {there}")

# The capture: blocks that fit together, both directions, each packet with its position.
capture = test.path("server.pcapng")
test.run("export", server.recording, "--format", "pcapng", "-o", capture)
with open(capture, "rb") as file:
    blocks = file.read()
at, found = 0, []
while at < len(blocks):
    kind, length = struct.unpack_from("<II", blocks, at)
    test.check(length % 4 == 0 and struct.unpack_from("<I", blocks, at + length - 4)[0] == length, f"block at {at}")
    if kind == 6:
        _, _, _, captured, original = struct.unpack_from("<IIIII", blocks, at + 8)
        test.check(captured == original, f"a packet of {original} bytes has {captured}")
        found.append(blocks[at + 28:at + length - 4])
    at += length
info = test.json_of(test.run("info", server.recording, "--json"))
card = info["cards"][0]
test.check(len(found) == card["frames_sent"] + card["frames_received"], f"{len(found)} packets, {card}")
test.check(f"packet {number}, position {came_syn[0]['position']}".encode() in found[number - 1], "no comment with the position")
print(f"{len(found)} packets at the server, sha256 {hashlib.sha256(blocks).hexdigest()[:16]}")
