"""Running scripted gdb sessions against a recording."""
import os
import re
import shutil
import subprocess
import textwrap
import time

from harness import ROOT, skip

GDB = shutil.which("gdb")
GUESTS = os.path.join(ROOT, "tests/e2e/guests")

SCRIPT = """set confirm off
set pagination off
set height 0
set width 0
set remotetimeout 120
set debuginfod enabled off
set print entry-values no
directory {guests}
set remotelogfile {folder}/remote.log
{before}
{connect}
python
exec(open({prelude!r}).read())
try:
    exec(open({body!r}).read())
except (gdb.error, LookupError) as error:
    import traceback
    traceback.print_exc()
    print("FAILED: " + str(error))
    gdb.execute("quit 1")
end
disconnect
quit 0
"""


def travel_guest(test, bits):
    """Builds and records tests/e2e/guests/travelN; returns (recording, symbols)."""
    done = subprocess.run([os.path.join(GUESTS, "build_travel"), str(bits), test.folder],
                          capture_output=True, check=False)
    test.check(done.returncode == 0, f"travel{bits} does not build", done)
    image, recording = test.path(f"travel{bits}"), test.path(f"travel{bits}.cvr")
    boot = ["--flat", image] if bits == 16 else ["--multiboot", image]
    test.run("record", "-o", recording, *boot, "--memory", "32M", "--limit", "100000000", "--serial", "none",
             expect=None)
    return recording, image + ".elf"


class Gdb:
    """Sessions of gdb on one recording."""

    def __init__(self, test, recording, symbols=None):
        if GDB is None:
            skip("gdb is not installed")
        self.test, self.recording, self.symbols = test, recording, symbols

    def environment(self):
        return dict(os.environ, TRAVEL_SOURCE=os.path.join(GUESTS, "travel.c"), TRAVEL_FOLDER=self.test.folder,
                    LC_ALL="C.UTF-8")

    def __call__(self, name, body, at="start", options=(), before="", connect=None, seconds=240):
        """Runs `body`, Python code, inside gdb at a position; it must print ALL CHECKED."""
        stem = self.test.path(name.replace(" ", "_"))
        with open(stem + ".py", "w", encoding="utf-8") as file:
            file.write(textwrap.dedent(body).strip() + "\nprint('ALL CHECKED')\n")
        if self.symbols:
            before += f"\nfile {self.symbols}"
        if connect is None:
            connect = (f"target remote | {self.test.program} debug {self.recording} --listen stdio --at {at} "
                       + " ".join(options))
        with open(stem + ".gdb", "w", encoding="utf-8") as file:
            file.write(SCRIPT.format(guests=GUESTS, folder=self.test.folder, before=before, connect=connect, body=stem + ".py",
                                     prelude=os.path.join(ROOT, "tests/e2e/gdb_prelude.py")))
        begun = time.monotonic()
        os.environ.update(self.environment())
        done = self.test.run("-nx", "-q", "-batch", "-x", stem + ".gdb", program=GDB, seconds=seconds)
        self.test.check(b"ALL CHECKED" in done.stdout, f"{name}: the script did not reach its end", done)
        print(f"{name}: {time.monotonic() - begun:.1f} s")
        return done.stdout.decode(errors="replace")


def serve(test, recording, *options):
    """A server on a Unix socket: (process, path). It must be ended by the caller."""
    socket = test.path("stub.socket")
    if os.path.exists(socket):
        os.unlink(socket)
    server = subprocess.Popen([test.program, "debug", recording, "--listen", f"unix:{socket}", *options],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for _ in range(200):
        if os.path.exists(socket):
            return server, socket
        time.sleep(0.05)
    return test.fail("debug made no socket")


def serve_tcp(test, recording, *options):
    """A server on a port that the system chose: (process, "127.0.0.1:PORT")."""
    server = subprocess.Popen([test.program, "debug", recording, "--listen", "tcp:127.0.0.1:0", *options],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        found = re.search(r"target remote (127\.0\.0\.1:\d+)", line)
        if found:
            return server, found[1]
    return test.fail("debug does not say where it listens")
