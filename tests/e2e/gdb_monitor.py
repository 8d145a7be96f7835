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
                           ("seek nowhere", "a position, start, end, +N, -N, packet:N or a bookmark"), ("whne", "is it when?"),
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
""", at="start")

gdb("QEMU's words", """    text = run("monitor info registers"); check(text.startswith("RAX=") and "\\nCR3=" not in text and " CR3=" in text, text)
    check("%016x" % value("$rip") in text, "rip: " + text)
    text = run("monitor info mem"); check(" -rw" in text or " urw" in text, text)
    check("LVT0" in run("monitor info lapic") and "pic0: irr=" in run("monitor info pic"), "interrupt controllers")
    text = run("monitor x/2xg %d" % value("$sp")); equal(int(text.split()[1], 16), value("*(unsigned long *) $sp"), text)
    check("Cannot access memory" in run("monitor xp /1xw 0xd0000000"), "no memory")
    check("0x" in run("monitor xp /1xw 0xfee00030"), "the local APIC's version")
""", at="end")

gdb("the end of the guest", """    run("continue"); text = run("monitor when")
    check("the guest ended here: " in text, "when: " + text)
    check("ended" in run("monitor info"), "info")
""", at="end")

print("all sessions passed")
