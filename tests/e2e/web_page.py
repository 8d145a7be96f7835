#!/usr/bin/python3
"""The page of `serve` in a real browser: the demo's culprit is found by the mouse alone and by
the keyboard alone, with a gdb attached; every view is accessible in light and dark; what a
guest writes stays text; a report opens from disk. tests/web/run.mjs has the tests."""
import atexit
import json
import os
import shutil
import socket
import subprocess
import threading

from harness import CMDLINE, PATIENCE, ROOT, Test, skip


def options(parser):
    parser.add_argument("--pictures", help="keep a picture of every view in this folder")
    parser.add_argument("--part", default="", help="only tests that have this in their name")


test = Test(__doc__, needs_kernel=True, extra=options)
if b"serve" not in test.run("--help").stdout:
    skip("this program has no server of pages")
chromium = shutil.which("chromium")
if chromium is None:
    skip("there is no chromium")
fetched = subprocess.run([os.path.join(ROOT, "scripts/fetch-npm"), "tests/web"], capture_output=True, check=False)
if fetched.returncode != 0:
    skip(f"what drives the browser cannot be fetched: {fetched.stderr.decode(errors='replace').strip()[-300:]}")
modules = fetched.stdout.decode().strip()


def demo():
    """The demo's recording, and its program with symbols."""
    gateway, initrd, recording = test.path("gateway"), test.path("initrd.img"), test.path("gateway.cvr")
    sources = [os.path.join(ROOT, "demo/gateway", name) for name in ("channel.c", "config.c", "main.c")]
    built = subprocess.run(["gcc", "-std=c11", "-D_DEFAULT_SOURCE", "-Og", "-g", "-static", "-no-pie", "-o", gateway, *sources],
                           capture_output=True, check=False)
    test.check(built.returncode == 0, "the demo's guest does not build", built)
    made = subprocess.run([os.path.join(ROOT, "scripts/build-initramfs"), initrd, "--init", gateway, "--add",
                           f"etc/plant.conf={os.path.join(ROOT, 'demo/gateway/plant.conf')}"], capture_output=True, check=False)
    if made.returncode != 0:
        skip(f"no initramfs: {made.stderr.decode(errors='replace').strip()}")
    test.run("record", "-o", recording, "--kernel", test.kernel(), "--initrd", initrd, "--append", CMDLINE, "--memory", "128M",
             "--idle", "warp", given=b"", seconds=600)
    return gateway, recording


def serve(recording, *more):
    """Starts a server at the recording's end; the address of its page."""
    server = subprocess.Popen([test.program, "serve", recording, "--at", "end", *more], stdout=subprocess.PIPE,
                              stderr=open(recording + ".log", "wb"))
    atexit.register(server.kill)
    return server.stdout.readline().decode().strip()


def replicated_run():
    """A run's control socket that answers with what is in a file; both paths."""
    told, door = test.path("told.json"), test.path("control.socket")
    backup = {"address": "unix:/run/b", "state": "guarded", "reason": "a backup holds the log", "session": "0" * 32, "lag_steps": 386,
              "lag_ms": 0.000386, "lag_bytes": 0, "sent_bytes": 14468274, "digest_compared": 0}
    with open(told, "w", encoding="utf-8") as file:
        json.dump({"role": "primary", "state": "guarded", "reason": "a backup holds the log", "position": 5000000, "lag_steps": 386,
                   "lag_ms": 0.000386, "lag_bytes": 0, "sent_bytes": 14468274, "processor_ms": 1.5, "slowed_ms": 0.0, "longest_stop_ms": 5.6,
                   "outputs": {"made": 18077, "released": 18070, "held": 7, "held_bytes": 9, "median_held_ms": 0.57, "longest_held_ms": 10.7},
                   "backups": [backup]}, file)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(door)
    listener.listen()

    def answer():
        while True:
            peer = listener.accept()[0]
            with peer, open(told, "rb") as file:
                peer.makefile().readline()
                peer.sendall(file.read() + b"\n")

    threading.Thread(target=answer, daemon=True).start()
    return told, door


gateway, recording = demo()
hostile = test.path("hostile")
subprocess.run([os.path.join(ROOT, "tests/guests/build_guest"), os.path.join(ROOT, "tests/web/hostile.S"), hostile], check=True)
test.run("record", "-o", test.path("hostile.cvr"), "--multiboot", hostile, given=b"")
test.run("record", "-o", test.path("screen.cvr"), "--machine", "pc-2", "--serial", "none", "--limit", "5000000", expect=(0, 1))
test.run("report", recording, "-o", test.path("report.html"))
door = test.path("gdb.socket")
told, control = replicated_run()
what = {"demo": serve(recording, "--symbols", gateway, "--source-dir", os.path.join(ROOT, "demo/gateway"), "--gdb", f"unix:{door}"), "door": door,
        "evil": serve(test.path("hostile.cvr")), "display": serve(test.path("screen.cvr"), "--control", control), "told": told,
        "file": test.path("report.html"), "axe": os.path.join(modules, "axe-core/axe.min.js")}
# Modules are found from where the scripts lie.
os.symlink(modules, test.path("node_modules"))
shutil.copytree(os.path.join(ROOT, "tests/web"), test.path("web"))
environment = dict(os.environ, CHROMIUM=chromium)
if test.arguments.pictures:
    environment["PICTURES"] = os.path.abspath(test.arguments.pictures)
done = subprocess.run(["node", test.path("web/run.mjs"), json.dumps(what), test.arguments.part], capture_output=True,
                      env=environment, check=False, timeout=240 * PATIENCE)
test.check(done.returncode == 0, "in the browser", done)
print(done.stdout.decode().strip())
