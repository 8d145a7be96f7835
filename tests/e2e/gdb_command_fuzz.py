#!/usr/bin/python3
"""The Python commands for gdb with arguments that nobody would type: whatever they
are, a command does its work or says in a sentence what is wrong; no Python
exception is shown, nothing hangs, and gdb survives. CTest runs some hundreds;
10,000 with

    tests/e2e/gdb_command_fuzz.py --chronovisor build/release/chronovisor --count 10000 --seed 7
"""
import os

from gdb_session import Gdb, travel_guest
from harness import PATIENCE, ROOT, Test


def extra(parser):
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)


test = Test(__doc__.splitlines()[0], extra=extra)
recording, symbols = travel_guest(test, 64)
plain = test.path("plain.elf")
test.run("--strip-debug", symbols, plain, program="/usr/bin/objcopy")
files = test.path("files")
os.mkdir(files)

SETTINGS = f"""COMMAND_FILE = {os.path.join(ROOT, 'scripts/gdb/chronovisor.py')!r}
SEED, COUNT, LONGEST = {test.arguments.seed}, {test.arguments.count}, {20 * PATIENCE}
"""
BODY = r"""
import json, random, re, time
run("source " + COMMAND_FILE)
random.seed(SEED)
COMMANDS = ["when", "info", "events", "bookmark", "linux-kernel", "linux-log", "linux-tasks", "linux-modules", "branch",
            "disassemble", "translate", "walk", "add-vmlinux", "seek", "packet", "last-write", "last-reached", "watch", "watch backward", "address-space", "history", "query", "discard",
            "go-live", "timeline", "step", "reverse-step", "", "nosuch", "last", "sek"]
WORDS = ["0", "1", "5 6", "-1", "+3", "-3", "+", "-", "0x10", "0x", "1_000", "1,000", "99999999999999999999999", "-0x80000000",
         "$pc", "$rsp", "$nosuch", "$position", "$_", "(", ")", "((1))", "[", "*", "&", "table", "&table", "table.sum",
         "table.values", "table.values[3]", "&table.values[9999999]", "nosuch", "*nosuch", "factorial", "*factorial", "spin+4",
         "travel.c:20", "travel.c:99999", "nosuch.c:1", "start", "end", "startx", "--", "-- 3", "-- 0", "-- x", "--3", "if",
         "if 1", "if nosuch", "thread 1", "thread 9", '"', "'", '"a b"', "''", '""', chr(92), "%s%n", "#", "$", ";", "|", "~",
         "\u00e9", "\u2028", "\t", "--move", "--delete", "--move x", "--delete x", "--force", "--serial", "--serial pty", "--idle",
         "--idle warp", "--serial file:x", "FILE", "x.cvr", "../x.cvr", "/", "/dev/null", "~", "(char)1", "(char*)0", "1.5",
         "1 == 1", "main", "sizeof(int)", "(long)&table", "square(2)", "result = 5", "i++", "'travel.c'::table", "-function",
         "-line", "-q", "-source", "on", "off", "json", "a" * 300, "9" * 300, "1/0", "*(int*)8", "{int} 0", "$_siginfo", "$xmm0",
         "$st0", "$cs", "$eflags", "'a'", "@", "table@3", "table.values[1]@2", "(struct nosuch*)0", "void", "int", "$_exitcode"]
SHOWN = re.compile(r"Traceback|Python Exception|Error occurred in Python|Protocol error|<class '")
worst, was = (0, ""), "timeline"
for n in range(COUNT):
    words = [random.choice(WORDS) for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3)))]
    argument = random.choice((" ", " ", "  ", "")).join(words)
    if random.random() < 0.1:
        argument = "".join(chr(random.randrange(33, 127)) for _ in range(random.randrange(1, 12)))
    prefix = random.choice(("chronovisor", "chronovisor", "chronovisor", "chronovisor", "chronovisor", "set chronovisor", "show chronovisor"))
    name = random.choice(COMMANDS) if prefix == "chronovisor" else random.choice(
        ("skip-interrupts", "linear-pc", "physical-memory", "nosuch", ""))
    command = f"{prefix} {name} {argument}".rstrip()
    if " -- " in command and random.random() < 0.5: command = command.replace(" -- ", "--")
    print("FUZZ " + ascii(command), flush=True)
    begun, said = time.monotonic(), ""
    try:
        said = gdb.execute(command, to_string=True)
    except gdb.error as error:
        said = str(error)
        check(said.strip(), command + " failed without a word")
    except KeyboardInterrupt:
        pass
    except BaseException as error:  # what no command of gdb's raises
        check(False, command + " raised " + repr(error))
    check(not SHOWN.search(said or ""), command + " showed: " + str(said))
    worst = max(worst, (time.monotonic() - begun, command))
    # Looking begins no branch.
    where_now = json.loads(gdb.execute("monitor json when", to_string=True))["whereabouts"]
    if where_now != "timeline" and name not in ("branch", "go-live"): check(where_now == was, command + " began a branch")
    was = where_now
    # gdb and the server still agree.
    if n % 20 == 0: check(gdb.selected_inferior().pid != 0 and value("$position") >= 0, "alive after " + command)
check(value("$position") >= 0, "alive")
check(worst[0] < LONGEST, "%s took %.1f s" % (worst[1], worst[0]))
print("the slowest, %s: %.2f s" % (worst[1], worst[0]))
"""

for name, file in (("with debug information", symbols), ("with symbols only", plain)):
    output = Gdb(test, recording, file)(
        f"commands {name}", SETTINGS + BODY, options=("--allow-files", files), seconds=600 * PATIENCE)
    for shown in ("Traceback (most recent call last)", "Python Exception", "Error occurred in Python"):
        test.check(shown not in output, f"{shown!r} was shown: {output[-3000:]}")
    print([line for line in output.splitlines() if line.startswith("the slowest")])
test.check(sorted(os.listdir(test.folder)) and not os.path.exists("x.cvr"), "files stay in their folder")
print("all commands survived")
