"""Runs inside gdb before the body of a test: what the bodies use."""
import os

import gdb

SOURCE = os.path.join(os.environ["TRAVEL_SOURCE"])
stops = []


def run(command):
    """A command and what it printed. What gdb says of a stop is not in it: that
    goes to gdb's own output, which the test sees as a whole."""
    text = gdb.execute(command, to_string=True)
    print("(gdb) " + command + "\n" + text, end="", flush=True)
    return text


def fails(command):
    """The message of a command that must fail."""
    try:
        text = run(command)
    except gdb.error as error:
        print("(gdb) " + command + "\n" + str(error))
        return str(error)
    check(False, command + " did not fail, but printed: " + text)
    return ""


def check(condition, message):
    if not condition:
        print("FAILED: " + message)
        try:
            print("at " + gdb.execute("info registers rip", to_string=True))
        except gdb.error:
            pass
        gdb.execute("quit 1")


def equal(found, wanted, message):
    check(found == wanted, f"{message}: {found!r}, not {wanted!r}")


def value(expression):
    return int(gdb.parse_and_eval(expression))


def line_of(marker):
    """The line of travel.c whose comment holds the marker."""
    with open(SOURCE, encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            if "/* " + marker + " */" in text:
                return number
    raise LookupError(marker)


def where():
    """(function, line) of the selected frame."""
    frame = gdb.selected_frame()
    return frame.name(), frame.find_sal().line


def at(function, marker, message):
    equal(where(), (function, line_of(marker)), message)


def pc():
    return value("$pc")


def registers(names="rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip eflags cs"):
    return tuple(value("$" + name) for name in names.split())


def packets(command):
    """The packets that a command sends to the stub, by the log that gdb_session has set."""
    log = os.path.join(os.environ["TRAVEL_FOLDER"], "remote.log")
    begun = os.path.getsize(log)
    gdb.execute(command, to_string=True)
    with open(log, encoding="latin-1") as file:
        file.seek(begun)
        return [text[2:].strip() for text in file if text.startswith("w $")]


def note_stop(event):
    stops.append(event)


gdb.events.stop.connect(note_stop)
