#!/usr/bin/python3
"""Real gdb steps through a C program in both directions: loops, calls, recursion,
finish, until, advance, temporary breakpoints, conditions, watchpoints."""
from gdb_session import Gdb, travel_guest
from harness import Test


def extra(parser):
    parser.add_argument("--bits", default="64", choices=("64", "32"))


test = Test(__doc__, extra=extra)
bits = test.arguments.bits
gdb = Gdb(test, *travel_guest(test, bits))
options = ["--architecture", "i386"] if bits == "32" else []


def session(name, body, at="start", says=()):
    text = gdb(name, body, at=at, options=options)
    for words in says:
        test.check(words in text, f"{name}: gdb does not say {words!r}: {text[-3000:]}")


session("there and back", """
    run("tbreak c_main")
    run("continue")
    at("c_main", "first", "continue to c_main")
    run("next"); at("c_main", "second", "next over fill")
    equal(value("table.values[7]"), 49, "fill has filled")
    run("step"); equal(where()[0], "add_up", "step into add_up")
    run("finish"); run("next"); at("c_main", "third", "finish and next")
    equal(value("result"), 140, "the sum")
    run("reverse-next"); at("c_main", "second", "reverse-next over add_up")
    equal(value("result"), 0, "the sum before")
    run("reverse-step"); equal(where()[0], "fill", "reverse-step into fill from its end")
    run("reverse-finish"); at("c_main", "first", "reverse-finish to the call")
    equal(value("table.values[7]"), 0, "fill has not run")
""")

session("loops", """
    run("break fill")
    run("continue")
    run("delete")
    body = line_of("loop body")
    run("tbreak %d" % body)
    run("continue")
    rounds = []
    for n in range(4):
        rounds.append((value("i"), where()[1], value("$position")))
        run("tbreak %d" % body); run("continue")
    equal([r[0] for r in rounds], [0, 1, 2, 3], "the loop's variable")
    equal(value("i"), 4, "fifth round")
    for n in (3, 2, 1, 0):
        run("tbreak %d" % body); run("reverse-continue")
        equal((value("i"), value("$position")), (n, rounds[n][2]), "the loop backward")
    run("next"); run("next"); equal((value("i"), where()[1]), (1, body), "two next go round")
    run("reverse-next"); run("reverse-next"); equal((value("i"), where()[1]), (0, body), "and back")
    run("until"); run("until"); equal(where()[0], "fill", "until leaves the loop"); equal(value("t->values[7]"), 49, "having run it")
    run("advance %d" % line_of("second"))
    if where() == ("c_main", line_of("first")): run("advance %d" % line_of("second"))  # stopped at the return
    at("c_main", "second", "advance to the caller")
""")

session("recursion", """
    run("break %d" % line_of("base")); run("condition 1 n == 1")
    run("continue")
    equal((where()[0], value("n")), ("factorial", 1), "conditional breakpoint, forward")
    equal(len([l for l in run("backtrace").splitlines() if "factorial" in l]), 5, "five frames deep")
    run("delete")
    run("reverse-finish"); equal((where()[0], value("n")), ("factorial", 2), "reverse-finish to the caller's call")
    run("tbreak %d if n == 1" % line_of("base")); run("continue")
    run("finish"); equal(value("$"), 1, "finish gives the value")
    run("finish"); equal(value("$"), 2, "and again")
    run("break factorial"); run("condition $bpnum n == 5"); run("reverse-continue")
    equal(value("n"), 5, "conditional breakpoint, backward")
    run("delete"); run("up"); at("c_main", "third", "called from c_main")
    run("down"); run("reverse-finish"); at("c_main", "third", "reverse-finish out of the recursion")
    run("next"); at("c_main", "fourth", "over all of it"); equal(value("f"), 120, "factorial of 5")
    run("reverse-next"); at("c_main", "third", "and back over all of it")
""")

session("stepping by ranges", """
    run("tbreak %d" % line_of("fifth")); run("continue"); packets("next")
    at("c_main", "sixth", "next over spin, whose 20,000 rounds are no packets")
    run("monitor seek start"); run("reverse-continue"); run("tbreak %d" % line_of("adding")); run("continue"); packets("next")
    sent = packets("next")
    check(sum(p.startswith("$vCont;r") for p in sent) == 1, "a line is one packet: %r" % sent)
    check(len(sent) < 10, "and few others: %r" % sent)
""")

session("watchpoints", """
    run("hbreak %d" % line_of("sixth")); run("continue"); at("c_main", "sixth", "hardware breakpoint")
    run("delete")
    run("watch table.sum")
    sums = []
    while True:
        run("reverse-continue")
        if value("$position") == 0: break
        sums.append(value("table.sum")); equal(where()[0], "add_up", "the storing function")
    equal(sums, [91, 55, 30, 14, 5, 1, 0], "each store, nearest first, before it happened")
    run("delete")
    run("tbreak %d" % line_of("second")); run("continue"); run("delete")
    run("rwatch table.values[3]")
    run("continue"); equal((where()[0], value("i")), ("add_up", 3), "rwatch, forward")
    run("delete"); run("awatch table.values[5]")
    run("continue"); equal((where()[0], value("i")), ("add_up", 5), "awatch, forward")
    text = run("reverse-continue")
    text = run("reverse-continue") if where()[0] == "add_up" else text
    equal(where()[0], "fill", "awatch, backward, to the store: " + text)
    run("delete"); run("tbreak %d" % line_of("third")); run("continue")
    run("rwatch table.values[6]"); text = run("reverse-continue")
    equal((where()[0], value("i")), ("add_up", 6), "rwatch, backward")
""", says=("Old value = 140\nNew value = 91", "Old value = 1\nNew value = 0", "Value = 36",
          "No more reverse-execution history"))

session("conditions and commands", """
    line = line_of("spinning")
    run("break %d if i == 12345" % line); run("continue")
    equal(value("i"), 12345, "condition in the stub, forward")
    run("delete"); run("break %d if i %% 1000 == 7 && sum > 100" % line); run("reverse-continue")
    equal(value("i"), 12007, "condition in the stub, backward")
    sent = packets("reverse-continue")
    equal(value("i"), 11007, "the next one back")
    check(any(p.startswith("$Z0") and ";X" in p for p in sent), "the condition goes to the stub: %r" % sent)
    check(len(sent) < 30, "and is not evaluated by gdb: %d packets" % len(sent))
    run("delete"); run("set dprintf-style agent")
    run('dprintf travel.c:%d, "i is %%d\\\\n", i' % line_of("loop body"))
    run("tbreak add_up")
    text = run("monitor when")
    run("reverse-continue")
""")

session("changing things", """
    run("tbreak %d" % line_of("second")); run("continue")
    before = registers("pc sp")
    equal(value("factorial(6)"), 720, "call in the guest")
    run("monitor discard"); run("reverse-continue")
    equal(registers("pc sp"), before, "discarding the branch goes back")
    pointers = "fctrl fstat ftag fiseg fioff foseg fooff fop"
    here, x87 = value("$position"), registers(pointers)
    equal(float(gdb.parse_and_eval("half(9.0L)")), 4.5, "call with a long double")
    equal(registers(pointers), x87, "what gdb puts back after a call")
    run("maintenance flush register-cache")  # docs/RSP.md, Decisions: calls in the guest
    check(value("$position") > here, "time went on during the call")
    told = run("monitor when").split(" of ")[0]
    equal(told, "position {:,}".format(value("$position")), "and $position is right")
    run("set $fop = 0x123"); run("set $fioff = 0x12345678"); run("maintenance flush register-cache")
    equal(registers("fop fioff"), (0x123, 0x12345678), "written as asked")
    run("monitor discard"); run("reverse-continue")
    equal((registers(pointers), value("$position")), (x87, here), "the timeline has not changed")
    run("set var table.values[2] = 1000"); run("next")
    equal(value("result"), 140 - 4 + 1000, "set var on a branch has its effect")
    run("monitor discard"); run("reverse-continue")
    equal(value("table.values[2]"), 4, "the timeline has not changed")
    run("next"); equal(value("result"), 140, "and runs as it did")
    run("find /w &table, +sizeof(table), 25"); equal(value("$_"), value("&table.values[5]"), "find")
    text = run("compare-sections")
    # The 32-bit guest has nothing but code in its .text; the 64-bit one has tables
    # there, and has changed them.
    check(("MIS-MATCHED" in text) == (gdb.selected_inferior().architecture().name() != "i386"), "compare-sections: " + text)
""")

session("the ends of history", """
    run("tbreak %d" % line_of("third")); run("continue"); at("c_main", "third", "there")
    check(value("$position") > 100, "well on the way")
    run("monitor seek start"); run("reverse-continue"); equal(value("$position"), 0, "seek start")
    run("monitor seek end"); run("continue"); end = value("$position")
    run("continue"); equal(value("$position"), end, "still at the end")
    run("monitor seek start"); run("continue")
    for n in range(3):
        run("reverse-continue"); equal(value("$position"), 0, "the start, again")
        run("reverse-stepi"); equal(value("$position"), 0, "reverse-stepi at the start")
""", says=("No more reverse-execution history",))
print("all sessions passed")
