#!/usr/bin/python3
"""CPU modes in gdb: real mode with a segment other than 0, 32-bit code with
32-bit symbols and with none, and a guest that goes from 32-bit to 64-bit."""
from gdb_session import Gdb, travel_guest
from harness import Test

test = Test(__doc__)

recording, symbols = travel_guest(test, 16)
real = Gdb(test, recording, symbols)
real("real mode", """
    rounds = value("(long) &round")
    run("break round"); run("continue")
    equal(pc(), rounds, "the breakpoint's linear address is the program counter")
    equal(value("$cs"), 0x700, "the segment"); equal(value("$cs_base"), 0x7000, "and its base")
    equal(value("$cx"), 10, "first round")
    run("continue"); equal(value("$cx"), 9, "second round")
    run("delete"); run("stepi"); run("reverse-stepi"); equal((pc(), value("$cx")), (rounds, 9), "there and back")
    run("watch *(short *) 0x9010"); run("continue"); equal(value("*(short *) 0x9010"), 19, "a linear watchpoint")
    text = run("reverse-continue"); equal(value("*(short *) 0x9010"), 10, "backward: " + text)
    run("delete")
    text = run("monitor disassemble %d 2" % rounds)
    check("addw" in text and "%cx, %bx" in text, "16-bit disassembly: " + text)
    run("monitor linear-pc off"); run("stepi"); run("reverse-stepi")
    check(pc() < 0x1000, "the program counter is an offset now: %#x" % pc())
    run("monitor linear-pc on"); run("stepi"); run("reverse-stepi")
    run("set $pc = finished"); equal(pc(), value("(long) &finished"), "writing it takes the base off")
    equal(value("$cs"), 0x700, "and keeps the segment")
""", before="set architecture i386", options=["--architecture", "i386"])

recording, symbols = travel_guest(test, 32)
Gdb(test, recording, symbols)("32-bit", """
    equal(gdb.selected_inferior().architecture().name(), "i386", "the architecture")
    run("break factorial if n == 2"); run("continue"); run("delete")
    text = run("backtrace"); equal(text.count("factorial"), 4, "frames: " + text)
    equal(gdb.parse_and_eval("$eip").type.sizeof, 4, "the width of eip")
    check(value("$cr0") & 1 == 1, "system registers are there")
    check("eax" in run("info registers"), "named as in 32-bit code")
    run("info all-registers"); run("p $xmm0"); run("p $st0")
    run("reverse-finish"); equal(value("n"), 3, "reverse-finish in 32-bit code")
""", options=["--architecture", "i386"])
recording, symbols = travel_guest(test, 64)
Gdb(test, recording, symbols)("from 32-bit to 64-bit", """
    equal(value("$efer") & 0x400, 0, "begins outside long mode")
    start = value("(long) &start"); equal(pc(), start, "at the entry")
    check("32-bit" in run("monitor when"), "in 32-bit code")
    run("break start64"); run("continue"); check(value("$efer") & 0x400, "in long mode")
    check("64-bit" in run("monitor when"), "in 64-bit code")
    run("delete"); run("reverse-stepi"); check("32-bit" in run("monitor when"), "back over the mode switch")
    text = run("monitor disassemble"); check("ljmp" in text, "the far jump: " + text)
    run("stepi"); equal(pc(), value("(long) &start64"), "and forth")
    text = run("monitor walk 0x100000"); check("PML4" in text and "PD " in text and "0x100000" in text, "the tables: " + text)
""")
print("all sessions passed")
