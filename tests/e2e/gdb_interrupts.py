#!/usr/bin/python3
"""Stepping passes over interrupts that were merely delivered, in both directions,
unless told not to; a breakpoint in the handler still stops."""
from gdb_session import Gdb, travel_guest
from harness import Test

test = Test(__doc__)
gdb = Gdb(test, *travel_guest(test, 64))

TO_SPIN = """
    handler = value("(long) &timer_handler"); handler_end = handler + 32
    def in_handler(): return handler <= pc() < handler_end
    run("break %d if i == 100" % line_of("spinning")); run("continue"); run("delete")
    # The second interrupt from there, and some steps back: every step is a packet or three.
    run("tbreak timer_handler"); run("continue"); run("tbreak timer_handler"); run("continue")
    equal(pc(), handler, "at the handler")
    run("monitor seek -BACK"); run("reverse-continue"); check(not in_handler(), "before the interrupt")
"""

gdb("stepping skips", TO_SPIN.replace("BACK", "150") + """
    ticks, path, begin = value("ticks"), [registers()], value("$position")
    for n in range(300):
        gdb.execute("stepi", to_string=True)
        check(not in_handler(), "stepi %d fell into the handler" % n)
        path.append(registers())
    passed = value("ticks") - ticks
    check(passed >= 1, "no interrupt came in 300 steps")
    check(value("$position") - begin > 300, "the handlers took no steps")
    print("passed over %d interrupts" % passed)
    for n in range(300):
        gdb.execute("reverse-stepi", to_string=True)
        check(not in_handler(), "reverse-stepi %d fell into the handler" % n)
        equal(registers(), path[-2 - n], "reverse-stepi %d came by other registers" % n)
    equal((value("$position"), value("ticks")), (begin, ticks), "back where it began")
    packets("reverse-stepi")
    sent = packets("reverse-stepi")
    # The step; gdb's thread list, which it asks for at every stop; and where the
    # frame needs it, one piece of stack. No registers: the stop reply has them.
    check(len(sent) <= 3 and sum(p.startswith("$bs") for p in sent) == 1, "a plain reverse step: %r" % sent)
    check(not any(p[1] in "gp" for p in sent), "registers are fetched: %r" % sent)
""", seconds=400)

gdb("stepping by source lines", TO_SPIN.replace("BACK", "150") + """
    begin, ticks = value("$position"), value("ticks")
    gdb.execute("next", to_string=True); at_line, first = value("$position"), value("i")
    for n in range(150): gdb.execute("next", to_string=True); equal(where()[0], "spin", "next stays in spin")
    check(value("i") >= first + 70, "next goes on: %d" % value("i"))
    check(value("ticks") > ticks, "an interrupt came")
    for n in range(150): gdb.execute("reverse-next", to_string=True); equal(where()[0], "spin", "reverse-next stays in spin")
    equal((value("i"), value("$position")), (first, at_line), "back")
""", seconds=400)

gdb("stepping enters", TO_SPIN.replace("BACK", "60") + """
    run("monitor skip-interrupts off")
    path = [(registers(), value("$position"))]
    for n in range(200):
        gdb.execute("stepi", to_string=True)
        path.append((registers(), value("$position")))
        if in_handler(): break
    check(in_handler(), "stepi never entered the handler")
    for n in range(12): gdb.execute("stepi", to_string=True); path.append((registers(), value("$position")))
    for n in range(len(path) - 2, max(len(path) - 40, -1), -1):
        gdb.execute("reverse-stepi", to_string=True)
        equal((registers(), value("$position")), path[n], "reverse-stepi by the same path")
""", seconds=400)

gdb("a breakpoint in the handler", TO_SPIN.replace("BACK", "60") + """
    run("break timer_handler")
    number = 0
    while not in_handler():
        gdb.execute("stepi", to_string=True); number += 1
        check(number < 200, "the handler's breakpoint does not stop a step")
    equal(pc(), handler, "at its first instruction")
    frame = value("$position")
    run("delete"); run("reverse-stepi"); check(not in_handler(), "one step back leaves the handler")
    equal(value("$position"), frame, "delivering is no step")
    run("break timer_handler"); run("reverse-continue"); equal(pc(), handler, "the handler before it")
    check(value("$position") < frame, "is earlier")
    first = value("$position")
    run("continue"); equal((pc(), value("$position")), (handler, frame), "and forward to this one")
    run("stepi"); check(in_handler() and pc() != handler, "stepping in the handler stays there")
    run("reverse-stepi"); equal((pc(), value("$position")), (handler, frame), "and back to its first instruction")
""")
print("all sessions passed")
