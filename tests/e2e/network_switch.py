#!/usr/bin/python3
"""Two recorded machines on one switch talk; each replays alone, without the other and
without the switch. What they said is in their packets, in tcpdump's words and in a
capture."""
import atexit
import hashlib
import json
import os
import re
import struct
import subprocess
import time

from harness import Test
from network_guest import Recorder, initramfs

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
echo "SERVED"
""")
client_script = """
$b ip address add 10.1.0.2/24 dev eth0
$b ip link set eth0 up
$b ping -c 1 -w 5 10.1.0.1 | $b grep "packets received"
echo "IN $($b nc 10.1.0.1 7000 | sha256sum)"
"""
server = Recorder(test, "server", server_image, "--net", f"stream:unix:{socket},model=virtio,mac=52:54:00:00:00:01")
server.wait_for("LISTENING")
client_image = initramfs(test, "virtio", client_script)
client = Recorder(test, "client", client_image, "--net", f"stream:unix:{socket},model=virtio,mac=52:54:00:00:00:02")
reports = {recorder: recorder.finish() for recorder in (client, server)}
switch.terminate()
switch.wait(timeout=30)

sent = re.search(r"OUT ([0-9a-f]{64})", server.said())
test.check(sent, f"on the server's console: {server.said()[-2000:]}")
for wanted in ("1 packets received", f"IN {sent[1]}"):
    test.check(wanted in client.said(), f"no {wanted!r} on the client's console: {client.said()[-2000:]}")
for recorder, report in reports.items():
    verified = test.json_of(test.run("verify", recorder.recording, "--json"))
    test.check(verified["digest"] == report["digest"], f"verified to another state: {verified}")

# What was said, in tcpdump's words.
def packets(recorder, expression, *more):
    done = test.run("query", "packets", recorder.recording, "--filter", expression, "--json", *more)
    return json.loads(done.stdout)["packets"]


for recorder in (client, server):
    arp = [packet["text"] for packet in packets(recorder, "arp")]
    test.check(any("who has 10.1.0.1" in text for text in arp), f"no ARP: {arp}")
syn = "tcp[tcpflags] & tcp-syn != 0 and tcp[tcpflags] & tcp-ack = 0"
sent_syn, came_syn = packets(client, syn), packets(server, syn)
test.check([len(sent_syn), len(came_syn)] == [1, 1], f"{sent_syn}, {came_syn}")
test.check(sent_syn[0]["direction"] == "sent" and came_syn[0]["direction"] == "received", f"{sent_syn}, {came_syn}")
refused = test.run("query", "packets", client.recording, "--filter", "no such words", expect=2)
test.check(b"--filter" in refused.stderr, "another refusal", refused)

# A place, by its number.
number = came_syn[0]["packet"]
part = test.run("query", "packets", server.recording, "--from", f"packet:{number}", "--limit", "1", "--json")
first = json.loads(part.stdout)["packets"][0]
test.check(first["position"] == came_syn[0]["position"], f"packet:{number} is {first}")
asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "seek", "params": {"place": f"packet:{number}"}}) + "\n"
there = json.loads(test.run("api", server.recording, given=asked.encode()).stdout.splitlines()[0])
test.check(there["result"]["position"] == first["position"], f"a program comes to {there}")

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
