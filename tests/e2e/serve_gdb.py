#!/usr/bin/python3
"""A page and a real gdb on one session of `chronovisor serve`: each sees where the other
has gone."""
import os
import shutil
import subprocess
import time

from gdb_session import travel_guest
from harness import ROOT, PATIENCE, Test, skip
from serve_client import Page, Server

if shutil.which("gdb") is None:
    skip("gdb is not installed")
test = Test(__doc__)
recording, symbols = travel_guest(test, 64)
path = test.path("gdb.sock")
server = Server(test, recording, "--gdb", "unix:" + path, "--symbols", symbols)
page = Page(server)
end = page.notice("moved")["where"]["end"]
said = test.path("gdb.log")
with open(said, "wb") as log:
    gdb = subprocess.Popen(["gdb", "-q", "-nx", symbols, "-ex", "set confirm off", "-ex", "set pagination off",
                            "-ex", "set debuginfod enabled off", "-ex", "set architecture i386:x86-64",
                            "-ex", "target remote " + path, "-x", os.path.join(ROOT, "scripts/gdb/chronovisor.py"),
                            "-ex", "set chronovisor follow on"],
                           stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)


def waits_for(text, what):
    limit = time.monotonic() + 60 * PATIENCE
    while time.monotonic() < limit:
        with open(said, encoding="utf-8", errors="replace") as file:
            everything = file.read()
        if text in everything:
            return everything
        time.sleep(0.05)
    return test.fail(f"{what}: {everything[-2000:]} {server.said()}")


def command(text):
    gdb.stdin.write(text.encode() + b"\n")
    gdb.stdin.flush()


command("echo ready\\n")
waits_for("ready", "gdb does not begin")
time.sleep(1)
# gdb goes, and the page is there.
command("stepi 3")
moved = page.notice("moved")
test.check(moved["by"] == "gdb", f"a page is told {moved}")
command("chronovisor seek end")
while moved["where"]["position"] != end:
    moved = page.notice("moved")
# The page goes, and gdb is there, without being asked.
middle = end // 2
time.sleep(1)
page.call("seek", place=middle)
waits_for(f"A page has gone to position {middle:,}.", "gdb does not follow")
pc = int(page.call("where")["pc"], 16)
command("output/x (unsigned long)$pc")
waits_for(f"{pc:#x}", "gdb's registers are of another place")
command("quit")
gdb.wait(timeout=60)
page.close()
server.end()
