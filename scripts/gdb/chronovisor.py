"""Chronovisor's commands for gdb: `source scripts/gdb/chronovisor.py` while
connected to `chronovisor debug`, which loads this itself with --gdb.

Everything is under one prefix; `help chronovisor` lists it. What the commands
do happens in the server (`monitor help`); here expressions are evaluated, and a
command that travels also arrives.
"""
import contextlib
import difflib
import json
import os
import re
import struct
import threading
import time

import gdb

ADDRESS_MASK = (1 << 64) - 1


def need_connection():
    if gdb.selected_inferior().pid == 0:
        raise gdb.GdbError("Not connected; use target remote first.")


def monitor(command):
    """Runs a monitor command; what it prints, and why it failed, is shown by gdb."""
    need_connection()
    try:
        gdb.execute("monitor " + command)
    except gdb.error as error:
        raise gdb.GdbError("chronovisor " + command.split()[0] + " failed.") from error


def quoted(word):
    """A word as the server takes it for one."""
    if '"' in word:
        raise gdb.GdbError(f"{word}: a \" cannot be passed on.")
    return f'"{word}"' if not word or re.search(r"\s", word) else word


def asked(command):
    """What a monitor command answers, as a value; one with "error" when it fails."""
    need_connection()
    try:
        return json.loads(gdb.execute("monitor json " + command, to_string=True))
    except gdb.error as error:  # the connection, not the command
        return {"error": {"code": "host", "message": str(error)}}


def arrive():
    """Carries out the travel that a monitor command has armed. gdb does not
    step off a breakpoint before going backward, so this resumes just once,
    and the stop refreshes every view."""
    backward = "reverse" in gdb.execute("show exec-direction", to_string=True)
    gdb.execute("continue" if backward else "reverse-continue")


class Clock:
    """The registers that show time. gdb puts every register back after a call in
    the guest, on x86 also those that the target marks as not to be saved, and then
    believes that they are what it wrote; so it is made to forget them."""

    stale = False

    @classmethod
    def note_call(cls, event):
        cls.stale = cls.stale or isinstance(event, gdb.InferiorCallPostEvent)

    @classmethod
    def refresh(cls):
        if cls.stale:
            cls.stale = False
            gdb.execute("maintenance flush register-cache", to_string=True)


def position():
    Clock.refresh()
    return int(gdb.parse_and_eval("$position"))


def symbol_bytes(address, most=8):
    """How many of the `most` bytes from `address` on belong to the same symbol: as many
    as its file says that it has, or up to the next one."""
    name = gdb.execute(f"info symbol {address:#x}", to_string=True).split(" ")[0]
    for size in range(1, most):
        at = gdb.execute(f"info symbol {address + size:#x}", to_string=True)
        if not at.startswith(f"{name} + {size} "):
            return size
    return most


QUOTED = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""")
CHANGING = re.compile(r"\+\+|--|<<=|>>=|(?<![=!<>])=(?!=)")
NO_CALLS = {"sizeof", "alignof", "_Alignof", "typeof", "__typeof__", "decltype"}


def looking(text):
    """Refuses an expression that would change the guest, or is several. Only looked at:
    calls are left to without_calls()."""
    plain = QUOTED.sub("0", text)
    found = CHANGING.search(plain)
    if found:
        raise gdb.GdbError(f"{text.strip()}: {found[0]} changes what it stands at; here things are only looked at.")
    while (less := re.sub(r"\([^()]*\)|\[[^][]*\]|\{[^{}]*\}|<[^<>]*>", "0", plain)) != plain:
        plain = less
    if "," in plain:
        raise gdb.GdbError(f"{text.strip()}: one expression is wanted, not several.")


@contextlib.contextmanager
def without_calls():
    """Meanwhile gdb calls no function in the guest, which would begin a branch there."""
    before = gdb.parameter("may-call-functions")
    gdb.execute("set may-call-functions off")
    try:
        yield
    finally:
        gdb.execute(f"set may-call-functions {'on' if before else 'off'}")


def value_of(text):
    """An expression's value. Whatever the expression, the guest stays as it is."""
    looking(text)
    with without_calls():
        try:
            return gdb.parse_and_eval(text)
        except gdb.error as error:
            if "may-call-functions" in str(error):
                raise gdb.GdbError(f"{text.strip()}: calls a function of the guest; here things are only looked at.") from error
            if "Invalid cast" not in str(error):
                raise
        # With 32-bit symbols in a 64-bit session gdb does not turn a pointer to what a
        # symbol means into another pointer, but takes the number.
        return gdb.parse_and_eval(re.sub(r"(\*\s*\))(?=\s*[&\w$(])", r"\1(unsigned long)", text))


def evaluated(text):
    """(value, symbol's address) of an expression: one of them. A symbol without
    debug information has an address, and no type to have a value of."""
    try:
        return value_of(text), None
    except gdb.error as error:
        if "unknown type" not in str(error):
            raise
    return None, int(value_of(f"&({text})")) & ADDRESS_MASK


def type_of(text):
    """The type that `text` means, or None."""
    if not re.fullmatch(r"[\w\s*:]+", text):
        return None
    try:
        return value_of(f"({text})0").type
    except (gdb.error, gdb.GdbError):
        return None


def is_type(name):
    return type_of(name) is not None


def number_of(value, text):
    kinds = (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_ENUM, gdb.TYPE_CODE_CHAR, gdb.TYPE_CODE_BOOL)
    if value.type.strip_typedefs().code not in kinds:
        raise gdb.GdbError(f"{text}: neither in memory nor a number.")
    return int(value)


def refuse_bit_field(text):
    """A bit-field has no address, but must not be taken for one."""
    try:
        value_of(f"&({text})")
    except gdb.error as error:
        if "bit" in str(error):
            raise gdb.GdbError(f"{text}: a bit-field; name what it is part of.") from error


def place(text):
    """(address, bytes) of an expression: an object in memory, or an address."""
    value, symbol = evaluated(text)
    if value is None:
        return symbol, symbol_bytes(symbol)
    if value.address is not None:
        if value.type.sizeof == 0:
            raise gdb.GdbError(f"{text}: of a type without a size.")
        return int(value.address) & ADDRESS_MASK, value.type.sizeof
    kind = value.type.strip_typedefs()
    address = number_of(value, text) & ADDRESS_MASK
    refuse_bit_field(text)
    if kind.code == gdb.TYPE_CODE_PTR and kind.target().sizeof > 0:
        return address, kind.target().sizeof
    return address, 8


def address_of(text):
    """The address that an expression means: its value, or where it is when it has
    no value that could be an address."""
    value, symbol = evaluated(text)
    if value is None:
        return symbol
    kinds = (gdb.TYPE_CODE_FUNC, gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION)
    if value.type.strip_typedefs().code in kinds and value.address is not None:
        return int(value.address) & ADDRESS_MASK
    return number_of(value, text) & ADDRESS_MASK


def count_of(text, least=1):
    """A number that somebody typed: digits, perhaps grouped, or an expression."""
    plain = re.fullmatch(r"\s*(0[xX][0-9a-fA-F]+|[0-9][0-9_,]*)\s*", text)
    if plain:
        digits = plain[1].replace("_", "").replace(",", "")
        number = int(digits, 16 if digits[:2].lower() == "0x" else 10)
    else:
        value, _ = evaluated(text)
        number = least - 1 if value is None else number_of(value, text)
    if not least <= number <= ADDRESS_MASK:
        raise gdb.GdbError(f"{text.strip()}: a number from {least} on is needed.")
    return number


class Command(gdb.Command):
    """What all of the commands share: whatever is wrong with what was typed is said
    in one sentence."""

    verb, usage = "", ""

    def __init__(self, kind=gdb.COMMAND_RUNNING, completion=gdb.COMPLETE_NONE):
        # gdb asks complete() only where no completion was named.
        how = () if hasattr(self, "complete") else (completion,)
        super().__init__("chronovisor " + self.verb, kind, *how)

    def invoke(self, argument, _from_tty):
        self.dont_repeat()
        try:
            need_connection()
            Clock.refresh()
            self.run(argument.strip())
        except (gdb.GdbError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise gdb.GdbError(str(error) or f"chronovisor {self.verb} failed.") from error

    def run(self, argument):
        raise NotImplementedError

    def parted(self, argument):
        """What stands before and behind ` --`, or all of it and nothing."""
        parts = re.fullmatch(r"(.+?)\s--\s*(\S*)", argument, re.DOTALL)
        if not argument or argument.startswith("--"):
            raise self.misused()
        if parts and not parts[2]:
            raise gdb.GdbError(f"{argument}: what belongs behind -- is missing. {self.misused()}")
        return (parts[1].strip(), parts[2]) if parts else (argument, None)

    def misused(self):
        return gdb.GdbError(f"Usage: chronovisor {self.verb} {self.usage}".strip())


class Chronovisor(gdb.Command):
    """Travel through a recording and ask it questions."""

    def __init__(self, name="chronovisor", documentation=None):
        self.__doc__ = documentation or self.__doc__
        self.name = name
        super().__init__(name, gdb.COMMAND_RUNNING, gdb.COMPLETE_COMMAND, True)

    def invoke(self, argument, _from_tty):
        """What is called when no command of this prefix was meant."""
        self.dont_repeat()
        if not argument.strip():
            gdb.execute("help " + self.name)
            return
        word = argument.split()[0]
        listed = gdb.execute(f"help {self.name}", to_string=True).splitlines()
        names = [line[len(self.name):].split(" -- ")[0].strip() for line in listed if line.startswith(self.name + " ")]
        near = difflib.get_close_matches(word, names, 3, 0.6) or [name for name in names if word in name][:3]
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(names)}."
        raise gdb.GdbError(f'"{self.name} {word}" is no command. {hint}')


class Plain(Command):
    """A command that the server carries out as it stands."""

    def __init__(self, verb, documentation, usage="", most=0, kind=gdb.COMMAND_STATUS):
        self.__doc__ = documentation + f"\n\nUsage: chronovisor {verb} {usage}".rstrip()
        self.verb, self.usage, self.most = verb, usage, most
        super().__init__(kind)

    def run(self, argument):
        if len(argument.split()) > self.most:
            raise self.misused()
        monitor(f"{self.verb} {count_of(argument, 0)}" if argument else self.verb)


class Bookmark(Command):
    """Name this position for seek, in the recording: chronovisor bookmark [NAME]

Without NAME, list. --move NAME takes a name that exists here, --delete NAME
removes it."""

    verb, usage = "bookmark", "[NAME | --move NAME | --delete NAME]"

    def run(self, argument):
        monitor(" ".join(["bookmark", *map(quoted, gdb.string_to_argv(argument))]))


class Seek(Command):
    """Go to another position: chronovisor seek POSITION|+N|-N|start|end|packet:N|BOOKMARK|FUNCTION

Positions count the instructions since power-on; $position is the present one.
FUNCTION is where one of the kernel's, or of the guest's own ELF file, was entered
last; of those that gdb knows, "chronovisor last-reached" finds any.
An expression that begins with $ or a parenthesis is evaluated."""

    verb, usage = "seek", "POSITION|+N|-N|start|end|packet:N|BOOKMARK|FUNCTION"

    def run(self, argument):
        if not argument:
            raise self.misused()
        sign = argument[0] if argument[0] in "+-" else ""
        target = argument[len(sign):].strip()
        if target[:1] in ("$", "("):
            target = str(count_of(target, 0))
        elif len(target.split()) != 1:
            raise self.misused()
        monitor("seek " + sign + target)
        arrive()

    def complete(self, _text, word):
        try:
            listed = asked("bookmark")
        except gdb.GdbError:
            return []
        names = [mark["name"] for mark in listed] if isinstance(listed, list) else []
        return [name for name in ["start", "end", *names] if name.startswith(word or "")]


class Packet(Command):
    """Show a packet of the network, and go where it came or went: chronovisor packet N

Packets are numbered from 1, over all cards and both directions, as in the capture
that `chronovisor export --format pcapng` writes."""

    verb, usage = "packet", "N"

    def run(self, argument):
        if not argument:
            raise self.misused()
        monitor(f"packet {count_of(argument)}")
        arrive()


class StepMany(Command):
    """Go N instructions of the recording on, or back, at once.

stepi N and reverse-stepi N go one instruction at a time, since gdb asks after
each. This goes there directly, past the handlers that those pass over as well; a
breakpoint on the way does not stop it."""

    def __init__(self, verb):
        self.__doc__ = StepMany.__doc__
        self.verb, self.usage = verb, "[N]"
        super().__init__(gdb.COMMAND_RUNNING, gdb.COMPLETE_EXPRESSION)

    def run(self, argument):
        monitor(f"{self.verb} {count_of(argument or '1')}")
        arrive()


class LastWrite(Command):
    """Go back to the latest write of an object: chronovisor last-write EXPRESSION

The machine then stands on the instruction that stores, before the store. The
expression is an object in memory, or a pointer or address of one."""

    verb, usage = "last-write", "EXPRESSION"

    def __init__(self):
        super().__init__(gdb.COMMAND_RUNNING, gdb.COMPLETE_EXPRESSION)

    def run(self, argument):
        if not argument:
            raise self.misused()
        address, size = place(argument)
        monitor(f"last-write {address:#x} {size}")
        arrive()


class Condition:
    """An expression of C as the server's own language has it (session/condition.h): what
    has a name is looked up here and now, since the server knows none. `itself` is the
    expression that is watched."""

    TOKEN = re.compile(r"\s+|(?P<word>[A-Za-z_]\w*)|(?P<number>\d\w*)|(?P<register>\$\w+)|(?P<letter>'(?:\\.|[^'\\])*')"
                       r"|->|<<|>>|<=|>=|==|!=|&&|\|\||.", re.DOTALL)
    MEMORY = re.compile(r"[iu](?:8|16|32|64)")
    ITS_TYPE = re.compile(r"([iu](8|16|32|64)|u?int(8|16|32|64|ptr)_t|s?size_t)[\s*]*")
    SIZES = (1, 2, 4, 8)
    moved = ""  # a pointer by whose target's size C would count, and the server cannot

    def __init__(self, text, itself):
        looking(text)
        self.text, self.itself = text, re.sub(r"\s", "", itself)
        value, _ = evaluated(itself)
        self.own = "svalue" if value is not None and self.is_signed(value.type) else "value"
        self.tokens = [found for found in self.TOKEN.finditer(text) if not found[0].isspace()]
        self.at = 0

    @staticmethod
    def is_signed(kind):
        return bool(getattr(kind.strip_typedefs(), "is_signed", False))

    def refuse(self, what):
        raise gdb.GdbError(f"{self.text}: {what}")

    def token(self, ahead=0):
        return self.tokens[self.at + ahead][0] if self.at + ahead < len(self.tokens) else ""

    def matching(self, begin):
        """Of a bracket's token the index of the one that closes it."""
        depth = 0
        for n in range(begin, len(self.tokens)):
            depth += (self.tokens[n][0] in "([") - (self.tokens[n][0] in ")]")
            if depth == 0:
                return n
        return self.refuse("a bracket is not closed.")

    def source(self, begin, end):
        return self.text[self.tokens[begin].start():self.tokens[end - 1].end()] if begin < end else ""

    def behind(self, end):
        """Where the members and elements end that follow at `end`."""
        while end < len(self.tokens):
            if self.tokens[end][0] == "[":
                end = self.matching(end) + 1
            elif self.tokens[end][0] in (".", "->") and end + 1 < len(self.tokens):
                end += 2
            else:
                break
        if end < len(self.tokens) and self.tokens[end][0] == "(":
            self.refuse("a condition that calls a function would change the guest.")
        return end

    def kind_name(self, kind):
        """The server's name for an integer type or a pointer, or None where it has none."""
        stars = 0
        kind = kind.strip_typedefs()
        while kind.code == gdb.TYPE_CODE_PTR:
            kind, stars = kind.target().strip_typedefs(), stars + 1
        if kind.code == gdb.TYPE_CODE_BOOL:
            return "bool" + stars * "*"
        if kind.code in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_CHAR, gdb.TYPE_CODE_ENUM) and kind.sizeof in self.SIZES:
            return f"{'i' if self.is_signed(kind) else 'u'}{8 * kind.sizeof}" + stars * "*"
        return "u64" if stars else None  # an address, behind which nothing can be looked at

    def memory(self, kind, address, text):
        """The integer or pointer of a type at an address."""
        kind, name = kind.strip_typedefs(), self.kind_name(kind)
        if name is None:
            self.refuse(f"{text} is of {kind.sizeof} bytes, and no integer; those of 1, 2, 4 or 8 can be compared.")
        if kind.code != gdb.TYPE_CODE_PTR:
            return f"{'u8' if name == 'bool' else name}[{address}]"
        if not name.endswith("*") and kind.target().sizeof > 1:
            self.moved = text
        return f"({name})u{8 * kind.sizeof}[{address}]"

    def variable(self, text, cast=None):
        """What the server calls a variable, an element or a member; `cast`: the type that
        it was cast to, which says how large one without debug information is."""
        if re.sub(r"\s", "", text) == self.itself and cast is None:
            return self.own
        value, symbol = evaluated(text)
        if value is None:
            if cast is not None and cast.sizeof in self.SIZES:
                return self.memory(cast, f"{symbol:#x}", text)
            size = symbol_bytes(symbol, 9)
            if size not in self.SIZES:
                self.refuse(f"{text} has no type; say how it is to be read, as in *(int*)&{text}.")
            return f"u{8 * size}[{symbol:#x}]"
        refuse_bit_field(text)
        code = value.type.strip_typedefs().code
        if value.address is None or code in (gdb.TYPE_CODE_FUNC, gdb.TYPE_CODE_ARRAY):
            return f"{address_of(text):#x}"
        return self.memory(value.type, f"{int(value.address) & ADDRESS_MASK:#x}", text)

    def member(self, group, chain, address):
        """A member behind a pointer that the server works out each time."""
        pointer = value_of(group).type.strip_typedefs()
        if pointer.code != gdb.TYPE_CODE_PTR or not chain.startswith("->"):
            self.refuse(f"{chain}: only ->MEMBER can stand behind an expression.")
        member = f"(({pointer.target()} *)0)->{chain[2:]}"
        refuse_bit_field(member)
        field = value_of("&" + member)
        return self.memory(field.type.target(), f"(u64){address} + {int(field)}", chain)

    def operand(self, cast=None):
        token = self.tokens[self.at] if self.at < len(self.tokens) else self.refuse("a value is missing.")
        begin = self.at
        if token[0] == "(":
            return self.bracket(begin)
        if token[0] == "&" or (token[0] == "*" and re.match(r"[A-Za-z_*&]", self.token(1))):
            # Of or through what has a name; * of something else is the server's.
            while self.token() in ("&", "*"):
                self.at += 1
            if not self.at < len(self.tokens) or not self.tokens[self.at]["word"]:
                self.at = begin + 1
                return token[0] + self.operand() if token[0] == "*" else self.refuse("& of what has no name.")
            self.at = self.behind(self.at + 1)
            text = self.source(begin, self.at)
            return f"{address_of(text):#x}" if token[0] == "&" else self.variable(text, cast)
        self.at += 1
        if token[0] in ("-", "+", "~", "!", "*"):
            return token[0] + self.operand()
        if token["number"]:
            return re.sub(r"[uUlL]+$", "", token[0])
        if token["letter"]:
            return str(number_of(value_of(token[0]), token[0]))
        if token["register"]:
            return self.register(begin)
        if not token["word"]:
            self.refuse(f"a value is missing where it says {self.text[token.start():]}.")
        return self.named(begin, cast)

    def register(self, begin):
        name = self.tokens[begin][0]
        known = {each.name for each in gdb.selected_frame().architecture().registers()}
        if self.behind(self.at) == self.at and (name[1:] in known or name in ("$pc", "$sp", "$fp", "$ps", "$cpl")):
            return name
        self.at = self.behind(self.at)  # a convenience variable
        text = self.source(begin, self.at)
        value = value_of(text)
        return self.variable(text) if value.address is not None else f"{number_of(value, text) & ADDRESS_MASK:#x}"

    def named(self, begin, cast):
        name = self.tokens[begin][0]
        if name in NO_CALLS:
            end = self.matching(self.at) + 1 if self.token() == "(" else self.behind(self.at + 1)
            self.at = end
            return str(int(value_of(self.source(begin, end))))
        if self.MEMORY.fullmatch(name) and self.token() == "[" and gdb.lookup_symbol(name)[0] is None:
            end = self.matching(self.at)
            self.at += 1
            return f"{name}[{self.all(end)}]"
        if name in ("value", "svalue") and gdb.lookup_symbol(name)[0] is None:
            return name
        self.at = self.behind(self.at)
        return self.variable(self.source(begin, self.at), cast)

    def bracket(self, begin):
        end = self.matching(begin)
        inside = self.source(begin + 1, end)
        kind = type_of(inside)
        name = self.kind_name(kind) if kind is not None else inside if self.ITS_TYPE.fullmatch(inside) else None
        if name is None and kind is not None:
            self.refuse(f"({inside}) is no cast to an integer or a pointer.")
        if name is not None:
            self.at = end + 1
            return f"({name}){self.operand(kind)}"
        self.at = begin + 1
        out = f"({self.all(end)})"
        while self.token() == "[":
            self.at += 1
            out += f"[{self.all(self.matching(self.at - 1))}]"
        group, members = self.at, self.behind(self.at)
        if members == group:
            return out
        self.at = members
        return self.member(self.source(begin, group), self.source(group, members), out)

    def all(self, end=None):
        """The rest, or up to the bracket with index `end`, which is passed over."""
        last = len(self.tokens) if end is None else end
        self.moved = ""
        out = self.operand()
        while self.at < last:
            sign, before = self.token(), self.moved
            self.at += 1
            self.moved = ""
            out += f" {sign} {self.operand()}"
            if sign in "+-" and (before or self.moved):
                self.refuse(f"{before or self.moved} points to what is no integer; go on from it by (long).")
        self.at = last if end is None else end + 1
        return out


class Watch(Command):
    """Go to the next write of an object, or backward to the last, for which a condition
holds: chronovisor watch [backward] EXPRESSION [if CONDITION]

The server evaluates the condition, so a hundred thousand writes take no longer than
running past them. It is made of C's operators and casts over numbers, registers ($rax)
and variables; EXPRESSION in it means the object after the write. Variables are looked up
here and now, as the server knows none. What has no debug information is as large as its
file says, or as a cast does: (char)flag, *(int*)&counter."""

    verb, usage = "watch", "[backward] EXPRESSION [if CONDITION]"

    def __init__(self):
        super().__init__(gdb.COMMAND_RUNNING, gdb.COMPLETE_EXPRESSION)

    def run(self, argument):
        found = re.fullmatch(r"(backward\s+)?(.+?)(?:\s+if\b(.*))?", argument, re.DOTALL)
        if not found or (found[3] is not None and not found[3].strip()):
            raise self.misused()
        expression = found[2].strip()
        address, size = place(expression)
        command = f"watch {'backward ' if found[1] else ''}{address:#x} {size}"
        if found[3]:
            command += " if " + Condition(found[3].strip(), expression).all()
        monitor(command)
        arrive()


class AddressSpace(Command):
    """Let breakpoints at user addresses count in one address space only, that of the
process which runs here or one by its CR3, or off again; without an argument, say
which: chronovisor address-space [here | off | CR3]"""

    verb, usage = "address-space", "[here | off | CR3]"

    def run(self, argument):
        if argument and argument not in ("here", "off"):
            argument = f"{address_of(argument):#x}"
        monitor(f"address-space {argument}".strip())


class LastReached(Command):
    """Go back to the latest time a place was reached: chronovisor last-reached LOCATION

LOCATION is what `break' takes: a function, FILE:LINE, *ADDRESS, and perhaps `if'
and a condition. As with any way back, a breakpoint or watchpoint that is met on
the way stops there. Where the place was never reached, nothing moves."""

    verb, usage = "last-reached", "LOCATION [if CONDITION]"

    def __init__(self):
        super().__init__(gdb.COMMAND_RUNNING, gdb.COMPLETE_LOCATION)

    @staticmethod
    def parsed(location):
        """(location, condition); the location is one that gdb finds. (gdb 13's decode_line is
        not asked: after one failure its second one ends gdb. Its `info line' ends gdb
        when it is given an option, a keyword or a comma first.)"""
        where, condition = re.fullmatch(r"(.*?)(?:\s+if\b(.*))?", location, re.DOTALL).groups()
        if re.search(r"(?<![\w-])(if|thread|task|-force-condition)(?!\w)", where):
            raise gdb.GdbError(f"{location}: no location.")
        if condition is not None:
            if not condition.strip():
                raise gdb.GdbError(f"{location}: the condition is missing.")
            looking(condition)
            for called in re.findall(r"([A-Za-z_]\w*)\s*\(", QUOTED.sub("0", condition)):
                if called not in NO_CALLS and not is_type(called):
                    raise gdb.GdbError(f"{called}: a condition that calls a function would change the guest.")
        looking(where)
        if where.startswith("*"):
            where = f"*{address_of(where[1:]):#x}"
        elif re.match(r"[\w$'\"/.~]", where):
            gdb.execute("info line " + where, to_string=True)
        return where, (condition or "").strip()

    def run(self, argument):
        if not argument:
            raise self.misused()
        origin = position()
        where, condition = self.parsed(argument)
        mark = gdb.Breakpoint(where, temporary=True)
        stops = []  # (event, numbers of the breakpoints met): the latter while they exist

        def note(event):
            stops.append((event, [b.number for b in getattr(event, "breakpoints", ())]))

        gdb.events.stop.connect(note)
        try:
            if mark.pending:
                raise gdb.GdbError(f"{argument}: there is no such place.")
            if condition:
                mark.condition = condition
            number = mark.number
            with without_calls() if "(" in condition else contextlib.nullcontext():
                gdb.execute("reverse-continue")
        finally:
            gdb.events.stop.disconnect(note)
            if mark.is_valid():  # it was not met
                mark.delete()
        self.explain(argument, number, origin, stops)

    @staticmethod
    def explain(location, number, origin, stops):
        met = [number for _, numbers in stops for number in numbers]
        if number in met:
            return
        if met:
            raise gdb.GdbError(f"{location} was not reached last: breakpoint {met[0]} was met on the way.")
        if any(isinstance(stop, gdb.SignalEvent) and stop.stop_signal == "SIGINT" for stop, _ in stops):
            raise gdb.GdbError("Interrupted.")
        monitor(f"seek {origin}")
        arrive()
        raise gdb.GdbError(f"{location} was not reached before position {origin:,}, where you are again.")


class History(Command):
    """List the latest writes of an object: chronovisor history EXPRESSION [-- COUNT]

Shows position, program counter, and the value before and after, latest first.
Does not move."""

    verb, usage = "history", "EXPRESSION [-- COUNT]"

    def __init__(self):
        super().__init__(gdb.COMMAND_STATUS, gdb.COMPLETE_EXPRESSION)

    def run(self, argument):
        expression, count = self.parted(argument)
        address, size = place(expression)
        monitor(f"history {address:#x} {size} {count_of(count or '10')}")


class Query(Command):
    """Ask the whole recording who wrote an object, which values it had, or when code ran:
chronovisor query writes|value|executes EXPRESSION [-- first|last|count]

Answers as the command line's query does. Does not move."""

    verb, usage = "query", "writes|value|executes EXPRESSION [-- first|last|count]"

    def __init__(self):
        super().__init__(gdb.COMMAND_STATUS, gdb.COMPLETE_EXPRESSION)

    def run(self, argument):
        kind, rest = (argument.split(None, 1) + ["", ""])[:2]
        expression, select = self.parted(rest)
        if kind not in ("writes", "value", "executes") or select not in (None, "first", "last", "count"):
            raise self.misused()
        address, size = (address_of(expression), 1) if kind == "executes" else place(expression)
        monitor(f"query {kind} {address:#x} {size} {select or ''}")


class AtAddress(Command):
    """A server command whose argument is an address expression."""

    def __init__(self, verb, documentation):
        self.__doc__ = documentation + f"\n\nUsage: chronovisor {verb} EXPRESSION"
        self.verb, self.usage = verb, "EXPRESSION"
        super().__init__(gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def run(self, argument):
        if not argument:
            raise self.misused()
        monitor(f"{self.verb} {address_of(argument):#x}")


class Disassemble(Command):
    """Disassemble by the CPU's present mode: chronovisor disassemble [EXPRESSION[,] [COUNT]]"""

    verb, usage = "disassemble", "[EXPRESSION[,] [COUNT]]"

    def __init__(self):
        super().__init__(gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def run(self, argument):
        if not argument:
            monitor("disassemble")
            return
        count = "10"
        comma = re.fullmatch(r"(.+),\s*(\d+|0[xX][0-9a-fA-F]+|\$\w+)", argument, re.DOTALL)
        if comma:
            argument, count = comma.groups()
        try:
            address = address_of(argument)
        except gdb.error:
            # All of it is no expression: then the last word is the count.
            expression, _, count = argument.rpartition(" ")
            if comma or not expression.strip():
                raise
            address = address_of(expression)
        monitor(f"disassemble {address:#x} {count_of(count)}")


class Discard(Command):
    """Leave a branch: back to the timeline, where the branch began."""

    verb = "discard"

    def run(self, argument):
        if argument:
            raise self.misused()
        monitor("discard")
        arrive()


class GoLive(Command):
    """Go on from here with input from outside, recorded in a file of its own:
chronovisor go-live FILE [--serial none|pty|file:PATH] [--idle warp|wait] [--force]

Changes made to registers and memory before are part of it. Going back in time,
seek and chronovisor discard end the recording and return to this one."""

    verb, usage = "go-live", "FILE [--serial none|pty|file:PATH] [--idle warp|wait] [--force]"

    def __init__(self):
        super().__init__(gdb.COMMAND_RUNNING, gdb.COMPLETE_FILENAME)

    def run(self, argument):
        words = gdb.string_to_argv(argument)
        if not words or not all(words):
            raise self.misused()
        monitor(" ".join(["go-live", *map(quoted, words)]))


class Vmlinux:
    """What is needed of a kernel's ELF file. Raises ValueError when it is none."""

    def __init__(self, path):
        self.path = path
        self.build_id = self.build_id_address = None
        with open(path, "rb") as file:
            header = file.read(64)
            if len(header) < 64 or header[:5] != b"\x7fELF\x02":
                raise ValueError("not a 64-bit ELF file")
            at, size, count, names = *struct.unpack_from("<40xQ10xH", header), *struct.unpack_from("<60xHH", header)
            file.seek(at)
            table = [struct.unpack("<IIQQQQIIQQ", file.read(64)) for _ in range(count)] if size == 64 else []
            if names >= len(table):
                raise ValueError("it has no sections")
            file.seek(table[names][4])
            strings = file.read(min(table[names][5], 1 << 20))
            sections = {strings[s[0]:strings.find(b"\0", s[0])]: s for s in table}
            if b".text" not in sections:
                raise ValueError("it has no section .text")
            self.text = sections[b".text"][3]
            if self.text < 0xffffffff80000000:
                raise ValueError("it is not a kernel's: .text is not where x86-64 Linux has it")
            # The per-CPU variables' addresses are offsets, and are not moved.
            self.per_cpu = sections[b".data..percpu"][3] if b".data..percpu" in sections else None
            notes = sections.get(b".notes")
            if notes:
                file.seek(notes[4])
                self.find_build_id(file.read(min(notes[5], 1 << 16)), notes[3])

    def find_build_id(self, notes, address):
        at = 0
        while at + 12 <= len(notes):
            name, description, kind = struct.unpack_from("<III", notes, at)
            start = at + 12 + (name + 3) // 4 * 4
            if kind == 3 and notes[at + 12:at + 12 + name] == b"GNU\0":
                self.build_id, self.build_id_address = notes[start:start + description], address + start
                return
            at = start + (description + 3) // 4 * 4


class AddVmlinux(Command):
    """Load the debug information of the guest's Linux kernel: chronovisor add-vmlinux FILE

FILE is the vmlinux of the very same build; it is loaded where KASLR has put the
kernel. Where the kernel is not in memory yet, symbols that were made by
`chronovisor symbols' tell where it will be. Symbols loaded before stay: those
have the modules, and unwind information for the kernel's assembly code.

The lx- commands of the kernel's source work with it. As lx-symbols loads the
vmlinux again, and gdb then does not move it, this follows it (with
hookpost-symbol-file) and does so."""

    loaded = None  # the one that was asked for last

    verb, usage = "add-vmlinux", "FILE"

    def __init__(self):
        super().__init__(gdb.COMMAND_FILES, gdb.COMPLETE_FILENAME)
        self.kernel = self.slide = self.symbols = None

    def run(self, argument):
        words = gdb.string_to_argv(argument)
        if len(words) != 1:
            raise self.misused()
        try:
            kernel = Vmlinux(os.path.abspath(os.path.expanduser(words[0])))
        except (OSError, ValueError, struct.error) as error:
            raise gdb.GdbError(f"{words[0]}: {getattr(error, 'strerror', None) or error}") from error
        slide = self.text_address(kernel) - kernel.text
        self.check(kernel, slide)
        present = gdb.current_progspace().filename
        self.symbols = None if present == kernel.path else present
        self.kernel, self.slide = kernel, slide
        self.load()
        AddVmlinux.loaded = self
        gdb.execute("define hookpost-symbol-file\npython AddVmlinux.loaded.follow()\nend")
        print(f"{words[0]}: moved by {slide:#x}, where the guest's kernel is.")

    @staticmethod
    def text_address(kernel):
        """Where the guest has the kernel's first byte."""
        kernel_there = asked("linux-kernel")
        if "error" not in kernel_there:
            return int(kernel_there["text_address"], 16)
        if gdb.current_progspace().filename not in (None, kernel.path):
            try:
                return int(gdb.parse_and_eval("(unsigned long) &_text"))
            except gdb.error:
                pass
        raise gdb.GdbError(kernel_there["error"]["message"])

    @staticmethod
    def check(kernel, slide):
        """Refuses a vmlinux that is not of the guest's build, where that can be seen."""
        if not kernel.build_id:
            return
        try:
            seen = gdb.selected_inferior().read_memory(kernel.build_id_address + slide, len(kernel.build_id))
        except gdb.MemoryError:
            return  # not in memory yet
        if bytes(seen) != kernel.build_id and any(bytes(seen)):
            raise gdb.GdbError(f"{kernel.path} is not of the guest kernel's build: the guest does not have its "
                               f"build ID, {kernel.build_id.hex()}, where it should be.")

    def load(self):
        def quoted(path):
            return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'

        gdb.execute("symbol-file", to_string=True)
        if self.symbols:
            gdb.execute("symbol-file " + quoted(self.symbols), to_string=True)
        command = f"add-symbol-file {quoted(self.kernel.path)} -o {self.slide:#x}"
        if self.kernel.per_cpu is not None:
            command += f" -s .data..percpu {self.kernel.per_cpu:#x}"
        gdb.execute(command, to_string=True)

    def follow(self):
        """After a symbol-file: when that was the vmlinux, it is not where it belongs."""
        if self.kernel and gdb.current_progspace().filename == self.kernel.path:
            self.load()


class Timeline(Command):
    """Draw the recording as a strip, with the present position: chronovisor timeline [COLUMNS]"""

    verb, usage = "timeline", "[COLUMNS]"

    def __init__(self):
        super().__init__(gdb.COMMAND_STATUS)

    def run(self, argument):
        width = gdb.parameter("width") or 80
        monitor(f"timeline {count_of(argument) if argument else min(max(width - 20, 16), 200)}")


class Switch(gdb.Parameter):
    """A setting that the server keeps."""

    def __init__(self, name, verb, value, documentation):
        self.set_doc = "Set whether " + documentation
        self.show_doc = "Show whether " + documentation
        self.name, self.verb = name, verb
        super().__init__("chronovisor " + name, gdb.COMMAND_RUNNING, gdb.PARAM_BOOLEAN)
        self.value = self.held = value

    def get_set_string(self):
        wanted, self.value = self.value, self.held
        monitor(f"{self.verb} {'on' if wanted else 'off'}")
        self.value = self.held = wanted
        return ""

    def get_show_string(self, value):
        return f"chronovisor {self.name} is {value}."


class Follow(gdb.Parameter):
    """Goes along when another view of the session, a page of `chronovisor serve`, travels."""

    set_doc = "Set whether gdb shows at once where a page of `chronovisor serve` has gone."
    show_doc = "Show whether gdb shows at once where a page of `chronovisor serve` has gone."
    SECONDS = 0.3

    def __init__(self):
        super().__init__("chronovisor follow", gdb.COMMAND_RUNNING, gdb.PARAM_BOOLEAN)
        self.value = False
        self.seen = None
        self.asked = threading.Event()
        self.thread = None
        gdb.events.stop.connect(self.forget)
        gdb.events.exited.connect(self.forget)

    def forget(self, _event):
        """gdb knows by itself where it is."""
        self.seen = None

    def get_set_string(self):
        self.seen = None
        if self.value and self.thread is None:
            self.thread = threading.Thread(target=self.watch, daemon=True)
            self.thread.start()
        return ""

    def get_show_string(self, value):
        return f"chronovisor follow is {value}."

    def watch(self):
        """Asks now and then, on gdb's own thread, as long as that is wanted."""
        while self.value:
            self.asked.clear()
            gdb.post_event(self.look)
            self.asked.wait()
            time.sleep(self.SECONDS)
        self.thread = None

    def look(self):
        try:
            if not self.value or gdb.selected_inferior().pid == 0 or gdb.selected_thread() is None or \
                    gdb.selected_thread().is_running():
                return
            when = asked("when")
            if "error" in when:
                return
            place = (when["position"], when["deliveries"], when["whereabouts"])
            before, self.seen = self.seen, place
            if before is None or before == place:
                return
            gdb.execute("maintenance flush register-cache", to_string=True)
            gdb.write(f"\nA page has gone to position {when['position']:,}.\n")
            gdb.execute("frame")
            gdb.write(gdb.parameter("prompt") or "")
            gdb.flush()
        except gdb.error:
            pass  # the connection goes, or the guest runs: the next look tells
        finally:
            self.asked.set()


class PositionFunction(gdb.Function):
    """The present position: $chronovisor_position()"""

    def __init__(self):
        super().__init__("chronovisor_position")

    def invoke(self):
        return position()


def install():
    gdb.events.inferior_call.connect(Clock.note_call)
    gdb.events.before_prompt.connect(Clock.refresh)
    Chronovisor()
    for verb, documentation, *usage in (
            ("when", "Show where the machine is: position, virtual time, CPU mode."),
            ("info", "Show what was recorded."),
            ("events", "List inputs, packets, interrupts and exceptions near here.", "[STEPS]", 1),
            ("linux-kernel", "Show the guest kernel's version and where it is."),
            ("linux-log", "Show the guest kernel's log as of now."),
            ("linux-tasks", "List the guest's processes as of now."),
            ("linux-modules", "List the guest kernel's modules as of now.")):
        Plain(verb, documentation, *usage)
    Plain("branch", "Leave the timeline here: the machine goes on without recorded input.\n"
                    "Writing a register or memory does so, too. chronovisor discard goes back.",
          kind=gdb.COMMAND_RUNNING)
    AtAddress("translate", "Translate a linear address.")
    AtAddress("walk", "Show the page-table entries for a linear address.")
    StepMany("step")
    StepMany("reverse-step")
    for command in (AddVmlinux, Bookmark, Packet, Seek, LastWrite, LastReached, Watch, AddressSpace, History, Query, Disassemble, Discard,
                    GoLive, Timeline, PositionFunction):
        command()
    for verb in ("set", "show"):
        Chronovisor(verb + " chronovisor", "Settings of Chronovisor.")
    Follow()
    Switch("skip-interrupts", "skip-interrupts", True, "stepping passes over handlers merely delivered.")
    Switch("linear-pc", "linear-pc", True, "the program counter includes the base of CS.")
    Switch("physical-memory", "phys", False, "memory commands use physical addresses.")


install()
