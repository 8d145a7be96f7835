#!/usr/bin/python3
"""iPXE starts a kernel over the network: from SeaBIOS by the card's ROM, with an address and
the name of a script by DHCP, the script by TFTP, and the kernel by HTTP from a server on the
host (or all by TFTP). Recorded, and verified without the network. The kernel is a tiny one,
or with --linux Debian's."""
import functools
import http.server
import os
import shutil
import threading

from harness import Test, skip
from network_guest import QUICK_CMDLINE


def extra(parser):
    parser.add_argument("--card", choices=("virtio", "e1000"), default="virtio")
    parser.add_argument("--by", choices=("tftp", "http"), default="http")
    parser.add_argument("--linux", action="store_true", help="start Debian's kernel")


test = Test(__doc__, needs_kernel=True, extra=extra)
card, by, linux = test.arguments.card, test.arguments.by, test.arguments.linux
firmware = test.json_of(test.run("doctor", "--json"))["firmware"]
if not all(firmware[name]["found"] for name in ("bios-256k.bin", f"pxe-{card}.rom")):
    skip("SeaBIOS or iPXE is not installed here (packages seabios, ipxe-qemu)")

given = test.path("given")
os.mkdir(given)
if linux:
    init = test.path("init")
    with open(init, "w", encoding="ascii") as file:
        file.write('#!/bin/sh\nmount -t proc proc /proc\necho "STARTED WITH $(cat /proc/cmdline)"\npoweroff -f\n')
    shutil.copy(test.kernel(), os.path.join(given, "kernel"))
    shutil.copy(test.initramfs("--init", init), os.path.join(given, "init.img"))
    arguments, wanted, ending = f"{QUICK_CMDLINE} by=ipxe", "by=ipxe", "poweroff"
else:
    shutil.copy(test.guest("paging64"), os.path.join(given, "kernel"))
    arguments, wanted, ending = "", "PASS", "debug-exit"
files = ["kernel", *(["init.img"] if linux else [])]
asked_for = []


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *words):
        asked_for.append(self.path)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=given))
threading.Thread(target=server.serve_forever, daemon=True).start()
where = f"http://10.0.2.2:{server.server_port}/" if by == "http" else ""
with open(os.path.join(given, "boot.ipxe"), "w", encoding="ascii") as file:
    file.write(f"#!ipxe\nkernel {where}kernel {arguments}\n" + (f"initrd {where}init.img\n" if linux else "") + "boot\n")

recording, console = test.path("boot.cvr"), test.path("console")
done = test.run("record", "-o", recording, "--boot", "n", "--memory", "256M", "--serial", f"file:{console}", "--limit", "8000000000", "--json",
                "--net", f"user,tftp={given},bootfile=boot.ipxe,model={card}{',loopback' if by == 'http' else ''}")
report = test.json_of(done)
with open(console, encoding="latin-1") as file:
    said = file.read()
test.check(wanted in said, f"on the console: {said[-2000:]}", done)
info = test.json_of(test.run("info", recording, "--json"))
test.check(report["exit"]["reason"] == ending, f"it ended otherwise: {report['exit']}", done)
if by == "http":
    test.check(asked_for == ["/" + name for name in files], f"the server was asked for {asked_for}")
counts = info["cards"][0]
size = sum(os.path.getsize(os.path.join(given, name)) for name in files)
test.check(counts["bytes_received"] > size, f"{counts} for {size} bytes")

# The whole replay needs neither the network nor what it gave.
shutil.rmtree(given)
server.shutdown()
verified = test.json_of(test.run("verify", recording, "--json"))
test.check(verified["digest"] == report["digest"], f"verified to another state: {verified}")
print(f"{card}, by {by}: {report['instructions']:,} steps, {counts['frames_received']:,} frames and "
      f"{counts['bytes_received']:,} bytes received, {report['seconds']:.1f} s")
