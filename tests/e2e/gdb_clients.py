#!/usr/bin/python3
"""run, detach and attach in extended mode; gdb/MI as front ends drive it;
debug --gdb with the guest's own symbols and commands."""
import os
import re
import subprocess
import time

from gdb_session import GDB, GUESTS, Gdb, serve_tcp, travel_guest
from harness import ROOT, Test
from raw_client import RawClient, framed

test = Test(__doc__)
recording, symbols = travel_guest(test, 64)
gdb = Gdb(test, recording, symbols)


def serve(*options):
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


server, socket = serve("--keep")
gdb("run restarts", """
    run("break factorial"); run("continue"); equal(value("n"), 5, "somewhere")
    run("run"); equal((where()[0], value("n")), ("factorial", 5), "run begins again and comes here again")
    first = value("$position")
    run("continue"); run("run"); equal((value("n"), value("$position")), (5, first), "and again")
    run("delete"); run("starti"); equal(value("$position"), 0, "starti stops at the beginning")
    run("tbreak spin"); run("continue"); here = value("$position")
    run("detach"); run("attach 1"); equal(value("$position"), here, "detach and attach find the machine where it was")
    run("reverse-stepi"); check(value("$position") < here, "and time goes both ways")
""", connect=f"target extended-remote {socket}")
gdb("another client", """
    check(value("$position") > 0, "the next client finds the machine where the last one left it")
    run("reverse-continue"); equal(value("$position"), 0, "and goes on from there")
""", connect=f"target remote {socket}")
server.terminate()
test.check(server.wait(timeout=10) == 0, f"the server ended with {server.returncode}")

# A second gdb while another debugger is connected: it is told, waits much longer than
# its timeout of two seconds, and is then served like any other.
server, address = serve_tcp(test, recording, "--keep")
first = RawClient(address)
first.ask("qC")
second = subprocess.Popen(
    [GDB, "-nx", "-q", "-batch", symbols, "-ex", "set pagination off", "-ex", f"target remote {address}", "-ex", "tbreak add_up",
     "-ex", "continue", "-ex", "reverse-stepi", "-ex", "print $position > 0"],
    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
time.sleep(7)
test.check(second.poll() is None, "the second gdb did not wait")
test.check(first.ask("qC") == "QC1", "the first client is served")
name = "127.0.0.1:%d" % first.socket.getsockname()[1]
first.close()
text, _ = second.communicate(timeout=60)
test.check(f"another debugger, {name}, is connected" in text, "the second gdb is told: " + text)
test.check("add_up" in text and "$1 = 1" in text and "Ignoring packet error" not in text and "unexpected" not in text,
           "the second gdb works: " + text)
server.terminate()
log = server.communicate(timeout=20)[1]
test.check(f"waits: {name} is connected" in log, "the log names both: " + log)
print("a second gdb waited and was served")

# gdb/MI, as VS Code's Native Debug, cpptools, CLion, Eclipse and Emacs speak it.
server, socket = serve()
mi = subprocess.Popen([GDB, "-nx", "-q", "--interpreter=mi2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
token = 0


def say(command, stopped=False):
    """The result of an MI command, and with `stopped` the stop that follows."""
    global token
    token += 1
    mi.stdin.write(f"{token}{command}\n")
    mi.stdin.flush()
    result, lines = None, []
    while True:
        line = mi.stdout.readline()
        test.check(line != "", f"gdb ended during {command}: {lines}")
        lines.append(line)
        if line.startswith(f"{token}^"):
            result = line.strip()
            test.check("^error" not in result, f"{command}: {result}")
            if not stopped:
                return result
        if stopped and line.startswith("*stopped") and result is not None:
            return line.strip()


def line_of(marker):
    with open(os.path.join(GUESTS, "travel.c"), encoding="utf-8") as file:
        return next(str(n) for n, text in enumerate(file, 1) if f"/* {marker} */" in text)


def at(stop, function, marker):
    found = (re.search(r'func="([^"]*)"', stop), re.search(r'line="([^"]*)"', stop))
    test.check(all(found) and (found[0][1], found[1][1]) == (function, line_of(marker)),
               f"stopped at {stop}, not in {function} at {marker}")


say("-gdb-set mi-async on")
say("-gdb-set confirm off")
say(f"-file-exec-and-symbols {symbols}")
say(f"-target-select remote {socket}")
features = say("-list-target-features")
test.check('"reverse"' in features, "no reverse button: " + features)
say("-break-insert -t c_main")
at(say("-exec-continue", True), "c_main", "first")
at(say("-exec-next", True), "c_main", "second")
at(say("-exec-next", True), "c_main", "third")
at(say("-exec-next --reverse", True), "c_main", "second")
stop = say("-exec-step", True)
test.check('func="add_up"' in stop, "step into add_up: " + stop)
at(say("-exec-finish --reverse", True), "c_main", "second")
say("-exec-step --reverse", True)  # from the call to the beginning of its line
stop = say("-exec-step --reverse", True)
test.check('func="fill"' in stop, "reverse step into fill: " + stop)
say("-exec-step-instruction --reverse", True)
say("-exec-next-instruction --reverse", True)
say(f"-break-insert travel.c:{line_of('spun')}")
at(say("-exec-continue", True), "spin", "spun")
say("-stack-list-frames")
say("-stack-list-variables --simple-values")
say("-break-insert -h fill")
stop = say("-exec-continue --reverse", True)
test.check('func="fill"' in stop and "breakpoint-hit" in stop, "reverse continue: " + stop)
stop = say("-exec-continue --reverse", True)
test.check('func="start"' in stop, "reverse continue to the beginning: " + stop)
say("-data-list-register-values x 16")
say("-data-read-memory-bytes 0x100000 64")
say("-thread-info")
say("-gdb-exit")
mi.wait(timeout=10)
server.wait(timeout=10)
print("gdb/MI passed")

# The same over TCP as cpptools connects, and as it and CLion pass on what is typed
# into their consoles: the stop that follows moves their views.
server, address = serve_tcp(test, recording)
mi = subprocess.Popen([GDB, "-nx", "-q", "--interpreter=mi"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
say(f"-file-exec-and-symbols {symbols}")
say(f"-target-select remote {address}")
say(f'-interpreter-exec console "source {ROOT}/scripts/gdb/chronovisor.py"')
say("-break-insert -t -f add_up")
test.check('func="add_up"' in say("-exec-continue", True), "continue to add_up")
at(say("-exec-finish", True), "c_main", "second")
at(say('-interpreter-exec console "next"', True), "c_main", "third")
at(say('-interpreter-exec console "reverse-next"', True), "c_main", "second")
stop = say('-interpreter-exec console "chronovisor last-write table.values[3]"', True)
test.check('func="fill"' in stop, "a command of ours stops like any other: " + stop)
stop = say('-interpreter-exec console "chronovisor seek end"', True)
test.check("*stopped" in stop, "a seek is a stop: " + stop)
say("-data-evaluate-expression table.sum")
say("-gdb-exit")
mi.wait(timeout=10)
server.wait(timeout=10)
print("gdb/MI over TCP passed")

# --gdb: connected, with symbols and commands. gdb reads its commands from stdin.
started = subprocess.run([test.program, "debug", recording, "--gdb", "--symbols", symbols],
                         input=b"tbreak add_up\ncontinue\nchronovisor when\nreverse-finish\nquit\n",
                         capture_output=True, timeout=60, check=False)
text = (started.stdout + started.stderr).decode(errors="replace")
test.check(started.returncode == 0 and "add_up" in text and "position" in text, "debug --gdb", started)
recording, symbols = travel_guest(test, 32)
started = subprocess.run([test.program, "debug", recording, "--gdb"],
                         input=b"tbreak factorial\ncontinue\nbacktrace\np $eip\nquit\n",
                         capture_output=True, timeout=60, check=False)
text = started.stdout.decode(errors="replace")
test.check("factorial (n=5)" in text and "not compatible" not in text + started.stderr.decode(errors="replace"),
           "debug --gdb with the 32-bit guest's own symbols", started)
print("debug --gdb passed")

# A recording that takes long to open, over a pipe: the debugger hears something before the
# two seconds are over after which it would send again.
slow, packed = test.path("slow.cvr"), test.path("packed.cvr")
with open(test.path("endless"), "wb") as file:
    file.write(b"\xeb\xfe")
test.run("record", "-o", slow, "--flat", test.path("endless"), "--memory", "1M", "--limit", "30000000", "--translate", "off")
test.run("pack", slow, packed, "--no-checkpoints")
server = subprocess.Popen([test.program, "debug", packed, "--at", "end", "--listen", "stdio"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
started = heard = time.monotonic()
server.stdin.write(framed("qC"))
answer, longest = b"", 0
while b"$QC1#" not in answer:
    piece = server.stdout.read(4096)
    test.check(piece, f"debug over a pipe said only {answer}")
    answer, now = answer + piece, time.monotonic()
    longest, heard = max(longest, now - heard), now
patience = int(os.environ.get("CHRONOVISOR_TEST_PATIENCE", "1"))
test.check(longest < 1.8 * patience, f"debug over a pipe was silent for {longest:.1f} s")
server.stdin.close()
server.wait(timeout=20)
print(f"{heard - started:.1f} s until a recording was open, at most {longest:.1f} s of silence")
