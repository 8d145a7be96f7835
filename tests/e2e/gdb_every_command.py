#!/usr/bin/python3
"""gdb's commands one after the other, on a real-mode guest, on a 32-bit multiboot
guest and on a Linux boot: tbreak, nexti, until, advance, watch, rwatch, awatch,
find, compare-sections, set var, call, run, detach and attach, and Ctrl-C in the
middle of a reverse search. tests/e2e/gdb_source_level.py does what needs source
lines."""
import os
import re
import signal
import subprocess
import time

from gdb_session import GDB, Gdb, serve, travel_guest
from harness import ROOT, Test


def extra(parser):
    parser.add_argument("--guest", default="16", choices=("16", "32", "linux"))


test = Test(__doc__, needs_kernel=True, extra=extra)
guest = test.arguments.guest
BEFORE, OPTIONS = "", []

# What the body below needs to know of a guest: CODE is a place reached often,
# NEXT and LATER follow it in this order, DATA is 2 bytes written after CODE and
# before LATER; REG a register in use.
if guest == "16":
    recording, symbols = travel_guest(test, 16)
    BEFORE, OPTIONS = "set architecture i386", ["--architecture", "i386"]
    places = dict(CODE="round", NEXT="round+2", LATER="finished", DATA="0x9010", KIND="short", REG="ecx", SECTION=".text", IMAGE="")
elif guest == "32":
    recording, symbols = travel_guest(test, 32)
    OPTIONS = ["--architecture", "i386"]
    places = dict(CODE="add_up", NEXT="add_up+1", LATER="factorial", DATA="&table.sum", KIND="int", REG="esp", SECTION=".text", IMAGE="")
else:
    recording, symbols = test.path("boot.cvr"), test.path("kernel.elf")
    test.run("record", "-o", recording, *test.linux(), "--serial", "none")
    test.run(test.kernel(), "--elf", symbols, program=os.path.join(ROOT, "scripts/kallsyms"))
    vmlinux = test.path("vmlinux")
    test.run(test.kernel(), "-o", vmlinux, program=os.path.join(ROOT, "scripts/extract-vmlinux"))
    places = dict(CODE="do_sys_openat2", NEXT="do_sys_openat2+5", LATER="__do_sys_reboot", DATA="&system_state", KIND="int",
                  REG="rdi", SECTION=".rodata", IMAGE=vmlinux)
gdb = Gdb(test, recording, symbols)
PLACES = "".join(f"{name} = {value!r}\n" for name, value in places.items()) + """
def address(text): return value("(unsigned long) (%s)" % text) if text[0] in "&0123456789" else value("(unsigned long) &%s" % text.split("+")[0]) + int((text.split("+") + ["0"])[1])
code, following, later, data = address(CODE), address(NEXT), address(LATER), address(DATA)
"""


def session(name, body, **more):
    gdb(name, PLACES + body, options=OPTIONS, before=BEFORE, **more)


session("breakpoints and steps", """
run("tbreak *%d" % code); run("continue"); equal(pc(), code, "tbreak")
check("No breakpoints" in run("info breakpoints"), "it has gone")
first = value("$position")
run("nexti"); after = value("$position"); check(after > first, "nexti"); run("reverse-nexti"); equal((pc(), value("$position")), (code, first), "reverse-nexti")
run("stepi 3"); run("reverse-stepi 3"); equal(value("$position"), first, "stepi and back")
run("advance *%d" % following); equal(pc(), following, "advance"); check(value("$position") > first, "advance goes on")
run("monitor seek %d" % first); run("reverse-continue"); equal(pc(), code, "back by a seek")
run("until *%d" % following); equal(pc(), following, "until")
run("hbreak *%d" % later); run("continue"); equal(pc(), later, "hbreak"); run("delete")
run("break *%d if $position >= %d" % (code, first)); run("reverse-continue")
text = run("info registers"); equal(pc(), code, "a condition, backward"); check(value("$position") >= first, "held")
run("delete"); run("tbreak *%d" % later); run("continue"); run("tbreak *%d" % code); run("commands\\nsilent\\nset $seen = 7\\nend"); run("reverse-continue")
equal(value("$seen"), 7, "commands of a breakpoint, run backward")
""")

session("watchpoints", """
run("tbreak *%d" % later); run("continue"); equal(pc(), later, "there")
at_later, now = value("$position"), value("*(KIND *) %d".replace("KIND", KIND) % data)
run("watch *(%s *) %d" % (KIND, data)); run("reverse-continue")
check(value("*(%s *) %d" % (KIND, data)) != now, "watch, backward: the store is undone"); store = (pc(), value("$position"))
run("continue"); equal(value("*(%s *) %d" % (KIND, data)), now, "watch, forward: the store is done")
run("delete"); run("reverse-stepi"); equal((pc(), value("$position")), store, "one step after the storing instruction")
run("awatch *(%s *) %d" % (KIND, data)); run("continue"); equal(value("$position"), store[1] + 1, "awatch, forward")
run("reverse-continue"); equal(value("$position"), store[1], "awatch, backward")
run("delete"); run("rwatch *(unsigned char *) %d" % value("(unsigned long) $sp")); run("continue"); check(value("$position") > store[1], "rwatch, forward")
run("delete"); run("stepi"); run("monitor discard") if "branch" in run("monitor when") else None
""")

session("changing and searching", """
run("tbreak *%d" % code); run("continue"); here = (pc(), value("$position"))
memory = bytes(gdb.selected_inferior().read_memory(code, 256))
run("find /b1 %d, +256, %s" % (code, ", ".join(str(b) for b in memory[4:12])))
check(code <= value("$_") <= code + 4 and bytes(gdb.selected_inferior().read_memory(value("$_"), 8)) == memory[4:12], "find")
if IMAGE: run("exec-file " + IMAGE); run("monitor phys on")  # the symbols have no contents; sections are loaded by physical address
text = run("compare-sections " + SECTION); check("matched" in text or "MIS-MATCHED" in text, "compare-sections: " + text)
if IMAGE: run("monitor phys off")
run("set var $%s = 0x1234" % REG); equal(value("$%s" % REG), 0x1234, "set var of a register")
check("branch" in run("monitor when"), "starts a branch")
run("monitor discard"); run("reverse-continue"); equal((pc(), value("$position")), here, "which goes")
run("set var *(%s *) %d = 77" % (KIND, data)); equal(value("*(%s *) %d" % (KIND, data)), 77, "set var of memory")
run("stepi"); run("monitor discard"); run("reverse-continue"); equal((pc(), value("$position")), here, "and goes, too")
check(value("*(%s *) %d" % (KIND, data)) != 77, "the timeline has not changed")
if LATER == "factorial": equal(value("factorial(4)"), 24, "call")
if LATER == "__do_sys_reboot": equal(value("((unsigned long (*)(unsigned long)) int_sqrt)(144)"), 12, "call of a kernel function")
if "branch" in run("monitor when"): run("monitor discard"); run("reverse-continue")
equal((pc(), value("$position")), here, "after all of it")
""")

server, socket = serve(test, recording, "--keep", *OPTIONS)
session("run, detach and attach", """
run("tbreak *%d" % code); run("continue"); here = (pc(), value("$position"))
run("stepi"); run("break *%d" % code); run("run"); equal((pc(), value("$position")), here, "run begins again and comes here again")
run("delete"); run("stepi"); there = (pc(), value("$position"))
run("detach"); run("attach 1"); equal((pc(), value("$position")), there, "detach and attach find the machine where it was")
run("reverse-stepi"); equal((pc(), value("$position")), here, "and time goes both ways")
""", connect=f"target extended-remote {socket}")
session("another client", """
run("tbreak *%d" % code); run("stepi"); run("reverse-continue"); equal(pc(), code, "the next client goes on from there")
""", connect=f"target remote {socket}")
server.terminate()
test.check(server.wait(timeout=10) == 0, f"the server ended with {server.returncode}")

# Ctrl-C in a search that finds nothing. A boot is long enough; for the other two
# modes, a guest that counts down.
ROUNDS = 30_000_000
if guest == "linux":
    endless = recording
    listed = subprocess.run(["nm", symbols], capture_output=True, check=True).stdout.decode()
    place = "*0x" + next(line.split()[0] for line in listed.splitlines() if line.endswith(" __x86_return_thunk"))
else:
    source, image, endless = test.path("spin.S"), test.path("spin"), test.path("spin.cvr")
    if guest == "16":
        with open(image, "wb") as file:  # mov ecx, ROUNDS; dec ecx; jnz to it; xor ax, ax; out 0xf4, ax
            file.write(b"\x66\xb9" + ROUNDS.to_bytes(4, "little") + b"\x66\x49\x75\xfc\x31\xc0\xe7\xf4")
        boot, place = ["--flat", image], "*0x7c06"
    else:
        with open(source, "w", encoding="utf-8") as file:
            file.write(f""".section .multiboot, "a"\n.balign 4\n.long 0x1badb002, 0, -0x1badb002\n.text\n.code32
.globl start\nstart: mov ${ROUNDS}, %ecx\n.globl again\nagain: dec %ecx\njnz again\nxor %eax, %eax\nout %eax, $0xf4\n""")
        test.run(source, image, program=os.path.join(ROOT, "tests/guests/build_guest"))
        listed = subprocess.run(["nm", image], capture_output=True, check=True).stdout.decode()
        boot = ["--multiboot", image]
        place = "*0x" + next(line.split()[0] for line in listed.splitlines() if line.endswith(" again"))
    test.run("record", "-o", endless, *boot, "--memory", "16M", "--serial", "none")
script = test.path("interrupt.gdb")
with open(script, "w", encoding="utf-8") as file:
    file.write(f"""set pagination off
set confirm off
{BEFORE}
target remote | {test.program} debug {endless} --listen stdio --at end {" ".join(OPTIONS)}
printf "before %lu\\n", $position
break {place} if $rcx == 0x123456789
echo searching\\n
reverse-continue
printf "after %lu\\n", $position
stepi
printf "alive\\n"
disconnect
quit
""".replace("$rcx == 0x123456789", "$rcx == 0x123456789" if guest == "linux" else "$ecx == -2"))
process = subprocess.Popen([GDB, "-nx", "-q", "-x", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, start_new_session=True)
seen = b""
while b"searching" not in seen:
    piece = os.read(process.stdout.fileno(), 65536)
    test.check(piece != b"", "gdb ended: " + seen.decode(errors="replace"))
    seen += piece
time.sleep(0.7)
process.send_signal(signal.SIGINT)
sent = time.monotonic()
try:
    output, _ = process.communicate(timeout=60)
except subprocess.TimeoutExpired:
    process.kill()
    test.fail("gdb does not end after Ctrl-C")
output = (seen + output).decode(errors="replace")
took = time.monotonic() - sent
numbers = dict(re.findall(r"(before|after) (\d+)", output))
test.check("alive" in output and "SIGINT" in output, "no interrupt, or gdb did not go on: " + output)
test.check(numbers["before"] == numbers["after"], f"interrupted, but elsewhere: {numbers}")
test.check(took < 15, f"the answer to Ctrl-C took {took:.1f} s")
print(f"Ctrl-C: {took:.2f} s")
