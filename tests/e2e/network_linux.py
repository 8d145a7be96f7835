#!/usr/bin/python3
"""Debian's kernel on a network of its own: DHCP, the gateway answers, TCP in both
directions against checksums. Recorded, verified, replayed from the images and from a
checkpoint, all to the same state."""
import hashlib
import os
import socket
import threading

from harness import Test
from network_guest import Recorder, free_port, initramfs


def card(parser):
    parser.add_argument("--card", choices=("virtio", "e1000"), required=True)
    parser.add_argument("--bytes", type=int, default=1 << 20, help="in each direction")


test = Test(__doc__, needs_kernel=True, extra=card)
to_guest = os.urandom(test.arguments.bytes)
to_host_bytes = test.arguments.bytes


class Server(threading.Thread):
    """Gives everybody the same bytes."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.start()

    def run(self):
        while True:
            peer, _ = self.socket.accept()
            with peer:
                peer.sendall(to_guest)


server, forwarded = Server(), free_port()
image = initramfs(test, test.arguments.card, f"""
$b ip link set eth0 up
$b udhcpc -i eth0 -n -q -s /lease || echo "NO LEASE"
$b ping -c 2 -i 0.1 -w 5 10.0.2.2 | $b grep "packets received"
echo "IN $($b nc 10.0.2.2 {server.port} | sha256sum)"
dd if=/dev/urandom of=/out bs=4096 count={to_host_bytes // 4096} 2>/dev/null
echo "OUT $(sha256sum < /out)"
(sleep 0.2; echo "LISTENING") &
$b nc -l -p 7000 < /out
echo "SERVED"
""")
recorder = Recorder(test, "network", image, "--net",
                    f"user,loopback,hostfwd=tcp::{forwarded}-:7000,model={test.arguments.card}")
recorder.wait_for("LISTENING")
got = b""
with socket.create_connection(("127.0.0.1", forwarded), timeout=30) as peer:
    while piece := peer.recv(1 << 16):
        got += piece
report = recorder.finish()
text = recorder.said()
for wanted in ("LEASE 10.0.2.15 ROUTER 10.0.2.2", "2 packets received", f"IN {hashlib.sha256(to_guest).hexdigest()}",
               f"OUT {hashlib.sha256(got).hexdigest()}", "SERVED"):
    test.check(wanted in text, f"no {wanted!r} on the console: {text[-3000:]}")
test.check(len(got) == to_host_bytes, f"{len(got)} bytes came from the guest")

info = test.json_of(test.run("info", recorder.recording, "--json"))
card = info["cards"][0]
counts = report["network"][0]
test.check(card["model"] == test.arguments.card and card["bytes_received"] > test.arguments.bytes
           and card["bytes_sent"] > to_host_bytes, f"info says {card}")
test.check(counts["sent"] == card["frames_sent"] and counts["received"] == card["frames_received"],
           f"the recorder counts {counts}, the recording holds {card}")
frames = card["frames_sent"] + card["frames_received"]
beside = (info["log_bytes"] - card["bytes_received"]) / frames
test.check(beside <= 100, f"the log has {beside:.0f} bytes a frame beside its payload")
print(f"{test.arguments.card}: {report['instructions']:,} steps, {frames} frames, {report['seconds']:.1f} s; "
      f"the log has {beside:.1f} bytes a frame beside what was received")

verified = test.json_of(test.run("verify", recorder.recording, "--jobs", "1", "--json"))
test.check(verified["digest"] == report["digest"], f"verified to another state: {verified}")
middle = info["checkpoint_positions"][len(info["checkpoint_positions"]) // 2]
done = test.run("replay", recorder.recording, "--from", middle, "--serial", "none")
said = done.stderr.decode()
test.check(f"{report['instructions']:,}" in said and "digests equal" in said, "the replay ends elsewhere", done)
if test.arguments.card == "virtio":
    # In shards, merged, it is what one run gives.
    asked = ["query", "packets", recorder.recording, "--filter", "tcp", "--from", str(middle), "--json"]
    whole, parts = test.json_of(test.run(*asked)), []
    for number in (3, 1, 2):
        parts.append(test.path(f"packets-{number}"))
        with open(parts[-1], "wb") as file:
            file.write(test.run(*asked, "--shard", f"{number}/3").stdout)
    joined = test.json_of(test.run("merge", *parts))
    test.check(joined == whole and whole["count"] > 100 and whole["complete"], f"{joined['count']} packets in shards, {whole['count']} in one run")
    done = test.run("merge", parts[0], parts[2], expect=3)
    test.check(b"shard 1 of 3 is missing" in done.stderr, "a shard that is missing", done)
packed = test.path("packed.cvr")
test.run("pack", recorder.recording, "-o", packed, "--level", "1")
test.check(test.json_of(test.run("info", packed, "--json"))["cards"] == info["cards"], "packing loses frames")
print("verified, replayed, packed")
