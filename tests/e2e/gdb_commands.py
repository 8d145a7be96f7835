#!/usr/bin/python3
"""The monitor commands and the Python commands of scripts/gdb/chronovisor.py."""
import os

from gdb_session import Gdb, travel_guest
from harness import ROOT, Test

test = Test(__doc__)
gdb = Gdb(test, *travel_guest(test, 64))
LOAD = f'    run("source {os.path.join(ROOT, "scripts/gdb/chronovisor.py")}")\n'

gdb("finding a write", LOAD + """    del stops[:]
    run("chronovisor seek end"); check(len(stops) == 1, "a seek is one genuine stop: %d" % len(stops))
    run("chronovisor last-write table.sum")
    equal((where()[0], value("table.sum")), ("add_up", 91), "on the last store, before it")
    run("chronovisor last-write table.values[3]")
    equal((where()[0], value("i"), value("table.values[3]")), ("fill", 3, 0), "on the store of an element")
    text = fails("chronovisor last-write table.values[3]"); check("failed" in text, "an error: " + text)
    equal(value("i"), 3, "and did not move")
    run("chronovisor seek end"); here = value("$position")
    text = run("chronovisor history table.sum -- 3")
    rows = [row for row in text.splitlines() if "->" in row]
    equal([row.split()[2:] for row in rows], [["0x5b", "->", "0x8c"], ["0x37", "->", "0x5b"], ["0x1e", "->", "0x37"]], "the history")
    equal(value("$position"), here, "which does not move")
    rows = [row for row in run("chronovisor query value table.sum").splitlines() if "->" in row]
    check(rows[-1].split()[-3:] == ["0x5b", "->", "0x8c"], "the values of a variable: %r" % rows)
    check(int(run("chronovisor query writes table.sum -- count")) >= len(rows), "who wrote"); equal(value("$position"), here, "nor does a query")
    check(int(run("chronovisor query executes factorial -- count")) >= 2, "what ran"); fails("chronovisor query reads table.sum")
    del stops[:]
    run("chronovisor last-reached factorial"); equal((where()[0], value("n"), len(stops)), ("factorial", 1, 1), "the latest call")
    run("chronovisor last-reached factorial"); equal(value("n"), 2, "and the one before")
    run("chronovisor last-reached travel.c:%d" % line_of("loop body")); equal((where()[0], value("i")), ("fill", 7), "a line")
    check("last-reached" not in run("info breakpoints") and gdb.breakpoints() in ((), None), "its breakpoint is gone")
    run("break fill"); text = fails("chronovisor last-reached main"); equal(where()[0], "fill", "a breakpoint on the way stops")
    check("not reached" in text, "which is told: " + text); run("delete")
    fails("chronovisor last-reached"); fails("chronovisor last-reached nowhere"); equal(where()[0], "fill", "and nothing moved")
    here = value("$position"); text = fails("chronovisor last-reached spin")
    check("spin was not reached before position" in text, "never before, which is said: " + text)
    equal((value("$position"), where()[0]), (here, "fill"), "and one is where one was")
    run("chronovisor seek end"); run("chronovisor last-reached travel.c:%d if i == 3" % line_of("loop body")); equal(value("i"), 3, "with a condition")
    # gdb 13 ends itself when its decode_line fails twice.
    for n in range(3): check("nosuch" in fails("chronovisor last-reached *nosuch"), "a mistyped address")
    run("chronovisor last-reached *&fill"); equal(where()[0], "fill", "and gdb lives on")
""", at="start")

gdb("moving about", LOAD + """    run("tbreak spin"); run("continue"); here = value("$position")
    check("position" in run("chronovisor when"), "when")
    run("chronovisor bookmark spinning"); check("spinning" in run("chronovisor bookmark"), "bookmarks are listed")
    run("chronovisor seek +1000"); equal(value("$position"), here + 1000, "seek +1000")
    run("chronovisor seek -500"); equal(value("$position"), here + 500, "seek -500")
    run("chronovisor seek spinning"); equal((value("$position"), where()[0]), (here, "spin"), "seek to the bookmark")
    run("chronovisor seek %d" % (here + 7)); equal(value("$position"), here + 7, "seek to a position")
    run("set $there = $position"); run("chronovisor seek start"); equal(value("$position"), 0, "seek start")
    run("chronovisor seek $there"); equal(value("$position"), here + 7, "seek to a convenience variable")
    equal(value("$chronovisor_position()"), here + 7, "the convenience function")
    run("monitor seek %d" % here); run("continue"); equal(value("$position"), here, "monitor seek, then continue")
    run("monitor seek start"); run("stepi"); equal(value("$position"), 0, "monitor seek, then stepi")
    run("chronovisor seek spinning")
    text = run("chronovisor timeline"); check("^" in text and "b" in text and "+" in text, "the strip: " + text)
    check("recording" in run("chronovisor info"), "info")
    text = run("chronovisor events 20000")
    check("interrupt 32" in text and "-- here --" in text, "events: " + text); equal(value("$position"), here, "which stays")
    fails("chronovisor seek"); fails("chronovisor seek nowhere"); fails("monitor nonsense")
    text = fails("chronovisor seek 5 6"); check("Usage" in text, "numbers are not glued together: " + text)
    equal(value("$position"), here, "and nothing moved")
    run("stepi 100"); there = value("$position"); run("chronovisor seek %d" % here)
    run("chronovisor step 100"); equal(value("$position"), there, "step N goes where stepi N does")
    run("reverse-stepi 57"); back = value("$position"); run("chronovisor seek %d" % there)
    run("chronovisor reverse-step 57"); equal(value("$position"), back, "reverse-step N as reverse-stepi N")
    run("chronovisor step"); run("chronovisor reverse-step"); equal(value("$position"), back, "one on and back")
    run("chronovisor seek end"); run("chronovisor watch backward table.sum if table.sum == 55"); equal(value("table.sum"), 30, "watch if")
    run("chronovisor watch table.sum if table.sum > 100 && $cpl == 0"); equal(value("table.sum"), 140, "watch forward")
    fails("chronovisor watch"); fails("chronovisor watch table.sum if"); fails("chronovisor watch table.sum if nosuch > 1")
    text = fails("chronovisor watch table.sum if table.sum == 12345"); check("not written" in text or "failed" in text, text)
    equal(value("table.sum"), 140, "and nothing moved")
    for condition in ("*(int *)&table.sum == 140", "(unsigned char) table.sum == 0x8c", "(long)table.sum > 100 && *(int*)%d == 140" % value("(long) &table.sum"),
                      "((Table *)&table)->sum == 140", "-(table.sum - 1) == -139 && !(table.values[1] - 1)", "+table.sum == (char)-116 + 256u"):
        run("chronovisor seek end"); run("chronovisor watch backward table.sum if " + condition)
        run("stepi"); equal(value("table.sum"), 140, "watch if " + condition)
    for command in ("watch table.sum if (double)table.sum == 1", "watch table.sum if *table.sum", "watch table.sum if square(2) == 4"):
        fails("chronovisor " + command)
    check("every address space" in run("chronovisor address-space"), "address-space"); run("chronovisor address-space here")
    check("count in address space" in run("chronovisor address-space"), "chosen"); run("chronovisor address-space off")
    run("chronovisor seek spinning")
    text = fails("chronovisor bookmrk"); check("Did you mean bookmark?" in text, "near matches: " + text)
    fails('chronovisor bookmark ""'); fails("chronovisor bookmark a b"); fails("chronovisor when now"); fails("chronovisor step 0")
    text = fails("chronovisor set-position 1"); check("is no command" in text, "unknown commands: " + text)
    text = fails("chronovisor history table.sum -- 0"); check("a number from 1 on" in text, "how many are none: " + text)
    for comma in ("$pc 3", "$pc, 3", "$pc,3", "(long) $pc , 3"): equal(len(run("chronovisor disassemble " + comma).splitlines()), 3, "disassemble " + comma)
    fails("chronovisor disassemble $pc,+20"); fails("chronovisor last-write table.sum, table.values")
    text = fails("chronovisor history table.sum --"); check("missing" in text, "a count is missing: " + text)
    fails("chronovisor query value table.sum --"); fails("chronovisor last-reached fill if "); fails("chronovisor last-reached fill if")
    check("factorial" in run("info symbol %s" % run("chronovisor disassemble factorial 1").split(":")[0].split()[-1]), "a function is an address")
    run("chronovisor seek spinning")
    for name in ("when", "seek", "last-write", "linux-log"): check(name in run("help chronovisor"), "help lists " + name)
    for name in ("when", "seek", "last-write", "linux-log", "walk"): check(name in run("monitor help"), "monitor help lists " + name)
    check("start" in run("complete chronovisor seek s") and "spinning" in run("complete chronovisor seek s"), "completion")
""")

gdb("branches and settings", LOAD + """    run("tbreak spin"); run("continue"); here = registers()
    fails("chronovisor discard")
    run("chronovisor branch"); check("branch" in run("chronovisor when"), "on a branch")
    run("tbreak %d" % line_of("spun")); run("continue"); at("spin", "spun", "a branch runs on")
    fails("chronovisor last-write table.sum"); fails("chronovisor events")
    run("chronovisor discard"); equal(registers(), here, "discard goes back")
    check("branch" not in run("chronovisor when"), "on the timeline")
    run("set chronovisor skip-interrupts off"); check("off" in run("show chronovisor skip-interrupts"), "the setting")
    run("set chronovisor skip-interrupts on")
    text = run("chronovisor translate &table"); check("physical" in text, "translate: " + text)
    text = run("chronovisor walk &table"); check("PML4" in text and "writable" in text, "walk: " + text)
    text = run("chronovisor disassemble"); check("=>" in text, "disassemble: " + text)
    # As scripts for kernels (pwndbg, gef) switch QEMU's stub to physical addresses.
    check('received: "0"' in run("maintenance packet qqemu.PhyMemMode"), "linear")
    check('received: "OK"' in run("maintenance packet Qqemu.PhyMemMode:1"), "to physical")
    check('received: "1"' in run("maintenance packet qqemu.PhyMemMode"), "physical")
    run("maintenance flush dcache"); run("x/4gx 0x1000"); run("maintenance packet Qqemu.PhyMemMode:0"); run("maintenance flush dcache")
    text = fails("chronovisor linux-tasks"); check("failed" in text, "no Linux here: " + text)
""")
gdb("nothing is changed by looking", LOAD + """    run("tbreak spin"); run("continue"); here = value("$position"); i = value("result")
    def stands(command):
        equal((value("$position"), value("result")), (here, i), "stands after " + command)
        check("branch" not in run("chronovisor when"), "on no branch after " + command)
    for command, says in (("history result--", "changes"), ("history result-- -- 3", "changes"), ("history result --", "missing"),
                          ("history ++result", "changes"), ("last-write result = 3", "changes"), ("query value result += 1", "changes"),
                          ("translate $rax = 5", "changes"), ("walk $rax++", "changes"), ("step result <<= 1", "changes"),
                          ("seek (result = 7)", "changes"), ("disassemble $pc = 3", "changes"), ("address-space result -= 1", "changes"),
                          ("timeline result++", "changes"), ("events result--", "changes"), ("watch result if result = 5", "changes"),
                          ("watch result if square(2) == 4", "calls"), ("watch result if (*square)(2) == 4", ""), ("last-write square(2)", "calls"),
                          ("disassemble factorial(3)", "calls"), ("step square(3)", "calls"), ("last-reached fill if result = 3", "changes"),
                          ("last-reached fill if square(2) == 4", "calls"), ("last-reached *factorial(2)", "calls"),
                          ("watch (result = 4) if result == 1", "changes"), ("history square(2) -- 2", "calls"), ("step 1, 2, result", "")):
        text = fails("chronovisor " + command); check(says in text, command + " says: " + text); stands(command)
    run("chronovisor history result == 3"); stands("a comparison")
    run('chronovisor translate $_strlen("abc")'); stands("a function of gdb's own")
    equal(gdb.parameter("may-call-functions"), True, "calls are allowed again")
    check("what changes" not in run("print square(3)"), "and gdb's own print calls"); run("chronovisor discard")
""", at="start")

plain = test.path("plain.elf")
test.run("--strip-debug", gdb.symbols, plain, program="/usr/bin/objcopy")
Gdb(test, gdb.recording, plain)("symbols without debug information", LOAD + """    run("chronovisor seek end")
    check("table.sum" not in run("chronovisor last-write result"), "a variable without a type"); here = value("$position")
    check(run("info symbol $pc").startswith("c_main"), "written in c_main")
    check("physical" in run("chronovisor translate table"), "translate")
    run("chronovisor last-reached factorial"); check(run("info symbol $pc").startswith("factorial"), "a function")
    run("chronovisor disassemble factorial 2")
    # A variable is as large as its file says, or as a cast does.
    run("chronovisor seek end"); run("chronovisor watch backward result if result == 260"); run("stepi")
    equal(value("*(int *) &result"), 260, "4 bytes of 4"); at = value("$position")
    for condition in ("(char)result == 4", "*(short*)&result == 260", "(unsigned char)result == 4 && ticks < 1000000"):
        run("chronovisor seek end"); run("chronovisor watch backward result if " + condition); run("stepi")
        equal(value("$position"), at, condition)
    text = fails("chronovisor watch result if table == 3"); check("has no type" in text, "too large to be one: " + text)
""")
recording, symbols = travel_guest(test, 32)
Gdb(test, recording, symbols)("32-bit symbols in a 64-bit session", LOAD + """    run("chronovisor last-write *(int*)&counted"); before = value("$position")
    run("chronovisor seek end"); run("chronovisor last-write counted"); equal(value("$position"), before, "the same write")
    run("chronovisor seek end"); run("chronovisor watch backward counted if *(int *)&counted == 30000 && *(int**)&counted != 0")
    equal(value("$position"), before, "and by a condition")
""", at="end", before="set architecture i386:x86-64")
print("all sessions passed")
