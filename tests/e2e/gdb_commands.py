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
    del stops[:]
    run("chronovisor last-reached factorial"); equal((where()[0], value("n"), len(stops)), ("factorial", 1, 1), "the latest call")
    run("chronovisor last-reached factorial"); equal(value("n"), 2, "and the one before")
    run("chronovisor last-reached travel.c:%d" % line_of("loop body")); equal((where()[0], value("i")), ("fill", 7), "a line")
    check("last-reached" not in run("info breakpoints") and gdb.breakpoints() in ((), None), "its breakpoint is gone")
    run("break fill"); text = fails("chronovisor last-reached main"); equal(where()[0], "fill", "a breakpoint on the way stops")
    check("not reached" in text, "which is told: " + text); run("delete")
    fails("chronovisor last-reached"); fails("chronovisor last-reached nowhere"); equal(where()[0], "fill", "and nothing moved")
    text = fails("chronovisor last-reached spin"); equal(value("$position"), 0, "never before: the beginning: " + text)
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
    text = fails("chronovisor linux-tasks"); check("failed" in text, "no Linux here: " + text)
""")
print("all sessions passed")
