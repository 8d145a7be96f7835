#!/usr/bin/python3
"""lldb 22 or newer: connect, registers, memory, breakpoints, watchpoints, and
`process continue --reverse`, on a C program."""
import os
import re
import shutil
import subprocess
import time

from gdb_session import GUESTS, serve_tcp, travel_guest
from harness import Test, skip

test = Test(__doc__)


def newest_lldb():
    for name in ("lldb", *(f"lldb-{version}" for version in range(40, 13, -1))):
        path = shutil.which(name)
        if path:
            version = subprocess.run([path, "--version"], capture_output=True, check=False).stdout.decode()
            number = re.search(r"version (\d+)", version)
            if number and int(number[1]) >= 22:
                return path
    return None


LLDB = newest_lldb() or skip("no lldb of version 22 or newer is installed (Debian: lldb-22)")
recording, symbols = travel_guest(test, 64)


def line_of(marker):
    with open(os.path.join(GUESTS, "travel.c"), encoding="utf-8") as file:
        return next(n for n, text in enumerate(file, 1) if f"/* {marker} */" in text)


def session(name, *commands):
    """Runs commands; returns what each printed."""
    socket = test.path("stub.socket")
    if os.path.exists(socket):
        os.unlink(socket)
    server = subprocess.Popen([test.program, "debug", recording, "--listen", f"unix:{socket}"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for _ in range(200):
        if os.path.exists(socket):
            break
        time.sleep(0.05)
    arguments = ["--no-lldbinit", "--no-use-colors", "--batch", symbols, "-o", "settings set stop-line-count-after 0",
                 "-o", "settings set stop-disassembly-count 0",
                 "-o", f"process connect --plugin gdb-remote unix-connect://{socket}"]
    for number, command in enumerate(commands):
        arguments += ["-o", f"script print('MARK {number}')", "-o", command]
    arguments += ["-o", "script print('MARK end')", "-o", "process detach"]
    done = test.run(*arguments, program=LLDB, seconds=120, expect=None)
    server.communicate(timeout=20)
    text = done.stdout.decode(errors="replace")
    test.check("\nMARK end" in text, f"{name}: lldb did not come to the end", done)
    pieces = re.split(r"\nMARK (?:\d+|end)\n", text)
    print(f"{name}: {len(commands)} commands")
    return done, pieces[1:-1]


def expect(done, text, pattern, what):
    test.check(re.search(pattern, text) is not None, f"{what}: {pattern!r} is not in {text!r}", done)


done, said = session(
    "forward and backward", "breakpoint set --name add_up", "process continue", "register read rip rsp eflags",
    "thread backtrace", "p *t", "memory read --size 4 --count 8 --format d &table",
    "breakpoint delete --force", f"breakpoint set --file travel.c --line {line_of('loop body')} --condition 'i == 5'",
    "process continue --reverse", "p i", "thread step-inst", "register read xmm0", "register read cr0")
expect(done, said[1], r"add_up.*travel\.c", "a breakpoint by name")
expect(done, said[2], r"rip = 0x0000000000[0-9a-f]+", "registers")
expect(done, said[3], r"add_up.*\n.*c_main", "a backtrace")
expect(done, said[4], r"values", "a structure")
expect(done, said[5], r": 9\n.*: 16\n.*: 25", "memory")
expect(done, said[8], r"stop reason = breakpoint", "a breakpoint with a condition, backward")
expect(done, said[9], r"\b5\b", "the condition held")
expect(done, said[11], r"xmm0", "vector registers")

done, said = session(
    "watchpoints", f"breakpoint set --file travel.c --line {line_of('third')}", "process continue",
    "breakpoint delete --force", "watchpoint set variable table.sum", "process continue --reverse", "p table.sum",
    "thread backtrace", "watchpoint delete --force",
    # Through Python, because --batch takes stops without a reason of its own for crashes, and ends.
    "script lldb.debugger.HandleCommand('process continue --reverse')", "register read position",
    "process plugin packet monitor when", "process plugin packet monitor seek 1000",
    "script lldb.debugger.HandleCommand('process continue')",
    "register read position")
expect(done, said[1], r"stop reason = breakpoint", "there")
expect(done, said[4], r"stop reason = watchpoint", "a watchpoint, backward")
expect(done, said[5], r"\b91\b", "the last store is undone")
expect(done, said[6], r"add_up", "in the storing function")
expect(done, said[8], r"history", "the beginning of history")
expect(done, said[9], r"position = 0x?0+", "position 0")
expect(done, said[10], r"position 0", "monitor commands")
expect(done, said[13], r"position = (0x0*3e8|1000)", "a seek")

# An answer that takes longer than lldb waits for a packet: it hears something meanwhile.
disassembly = test.run("-d", "--disassemble=spin", symbols, program="/usr/bin/objdump").stdout.decode()
loop = "0x" + re.search(r"^\s*([0-9a-f]+):.*\band\s", disassembly, re.MULTILINE)[1]
slow = "||".join(["u8[0x1000]==300"] * 300)
done, said = session("an answer that takes long", "settings set plugin.process.gdb-remote.packet-timeout 1",
                     f"process plugin packet monitor next-reached {loop} if {slow}", "process plugin packet monitor when")
expect(done, said[1], r"is not reached so.*\n(.*\n)*response: E01", "the answer")
expect(done, said[2], r"position 0 of.*\n(.*\n)*response: OK", "and all goes on")

# Over TCP and by the commands that CodeLLDB is configured with.
server, address = serve_tcp(test, recording)
done = test.run("--no-lldbinit", "--no-use-colors", "--batch", "-o", f"target create {symbols}", "-o", f"gdb-remote {address}",
                "-o", "breakpoint set --name add_up", "-o", "process continue", "-o", "process continue --reverse",
                "-o", "process detach", program=LLDB, seconds=120, expect=None)
server.wait(timeout=20)
text = done.stdout.decode(errors="replace")
expect(done, text, r"stop reason = breakpoint", "a breakpoint over TCP")
expect(done, text, r"history|stop reason = (?!breakpoint)", "and back to the beginning")
print("all sessions passed")
