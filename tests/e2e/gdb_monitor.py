#!/usr/bin/python3
"""What a session answers through `monitor`: as text, as JSON, and what it refuses."""
from gdb_session import Gdb, travel_guest
from harness import Test

test = Test(__doc__)
gdb = Gdb(test, *travel_guest(test, 64))
JSON = """    import json
    def ask(command): return json.loads(run("monitor json " + command))
    def go(): run("reverse-continue")
"""

gdb("answers as JSON", JSON + """    when = ask("when")
    equal(when["position"], value("$position"), "when"); equal(when["whereabouts"], "timeline", "when")
    check(when["end"] > when["position"] and when["guest_ended"] is None, "when: %r" % when)
    equal(ask("seek end")["destination"], when["end"], "seek"); go()
    equal(value("$position"), when["end"], "and arrived")
    equal(ask("nonsense")["error"]["code"], "usage", "an error"); equal(ask("seek 5 6")["error"]["code"], "usage", "two words")
    equal(ask("last-write %d 4" % value("&table.sum"))["write"]["before"], hex(91), "the last write"); go()
    equal(where()[0], "add_up", "on its store")
    equal(ask("last-write 0x7ff000000 1")["error"]["code"], "not-found", "never written"); equal(where()[0], "add_up", "and nothing moved")
""", at="start")

gdb("refusals", """    here = value("$position")
    for command, words in (("when now", "too much"), ("seek 5 6", "too much"), ("seek 99999999999", "outside the recording"),
                           ("seek nowhere", "a position, start, end, +N, -N, packet:N, a bookmark or a function"), ("whne", "is it when?"),
                           ("bookmark 12", "read as a position"), ("info everything", "none of these"),
                           ("history 4096 8 0", "COUNT"), ("watch 4096 8 if value = 3", "condition")):
        try:
            check(False, command + " did not fail: " + run("monitor " + command))
        except gdb.error as error:
            print(error)
    equal(value("$position"), here, "and nothing moved")
""", at="start")

gdb("searches with conditions, and steps at once", JSON + """    address = value("&table.sum")
    ask("seek end"); go()
    size = value("sizeof(table.sum)")
    found = ask("watch backward %d %d if value == 55" % (address, size)); go()
    equal((where()[0], value("table.sum"), value("$position")), ("add_up", 30, found["destination"]), "the write of 55")
    found = ask("watch %d %d if value > 100" % (address, size)); go()
    equal((value("table.sum"), value("$position")), (140, found["destination"]), "the first above 100")
    here = value("$position"); run("reverse-stepi 300"); there = value("$position")
    ask("seek %d" % here); go(); equal(ask("reverse-step 300")["taken"], 300, "300 steps back"); go()
    equal(value("$position"), there, "as reverse-stepi 300")
    equal(ask("step 300")["destination"], here, "and on"); go()
    ask("seek end"); go()
    equal(ask("last-reached %d if $edi == 1" % value("(long) &factorial"))["address"], hex(value("(long) &factorial")), "a call"); go()
    equal((where()[0], value("$edi")), ("factorial", 1), "with its argument")
    ask("seek end"); go(); last = ask("last-reached %d" % value("(long) &add_up"))["destination"]
    equal([ask("seek " + place)["destination"] for place in ("add_up", "function:add_up")], [last, last], "a function is a place")
""", at="start")

gdb("QEMU's words", """    text = run("monitor info registers"); check(text.startswith("RAX=") and "\\nCR3=" not in text and " CR3=" in text, text)
    check("%016x" % value("$rip") in text, "rip: " + text)
    text = run("monitor info mem"); check(" -rw" in text or " urw" in text, text)
    check("LVT0" in run("monitor info lapic") and "pic0: irr=" in run("monitor info pic"), "interrupt controllers")
    text = run("monitor x/2xg %d" % value("$sp")); equal(int(text.split()[1], 16), value("*(unsigned long *) $sp"), text)
    text = run("monitor gpa2hva 0x1000"); check("there is none" in text and "is 0x" not in text, "no host address: " + text)
    check("is not RAM" in run("monitor gpa2hva 0xfee00000") and "No memory is mapped" in run("monitor gpa2hva 0xd0000000"), "gpa2hva")
    equal(run("monitor gva2gpa %d" % value("$pc")).startswith("gpa: 0x"), True, "gva2gpa")
    check("Cannot access memory" in run("monitor xp /1xw 0xd0000000"), "no memory")
    check("0x" in run("monitor xp /1xw 0xfee00030"), "the local APIC's version")
""", at="end")

gdb("the end of the guest", """    run("continue"); text = run("monitor when")
    check("the guest ended here: debug-exit by port 0xf4" in text, "when: " + text)
    check("by port 0xf4" in run("monitor info"), "info")
    check("ended" in run("monitor info"), "info")
""", at="end")

# gdb takes three silences of remotetimeout for a lost answer.
output = gdb("an answer that takes long", """    import time
    run("tbreak factorial"); run("continue"); here = value("$position")
    def ask(terms):
        begun = time.monotonic()
        try:
            gdb.execute("monitor next-reached %d if %s" % (loop, "||".join(["u8[0x1000] == 300"] * terms)))
        except gdb.error as error:
            print(error)
        return time.monotonic() - begun
    run("tbreak %d" % line_of("spinning")); run("continue"); loop = pc()
    terms, took = 60, 0
    while took < 4 and terms < 1000: took = ask(terms); terms *= 2
    print("it took %.1f s" % took)
    begun = value("$position"); run("monitor when"); equal(value("$position"), begun, "and all goes on")
""", before="set remotetimeout 1")
test.check("Ignoring packet error" not in output, "gdb heard nothing: " + output[-1500:])
print("all sessions passed")
