"""Chronovisor's commands for gdb: `source scripts/gdb/chronovisor.py` while
connected to `chronovisor debug`, which loads this itself with --gdb.

Everything is under one prefix; `help chronovisor` lists it. What the commands
do happens in the server (`monitor help`); here expressions are evaluated, and a
command that travels also arrives.
"""
import os
import re
import struct

import gdb


def monitor(command):
    """Runs a monitor command; what it prints, and why it failed, is shown by gdb."""
    if gdb.selected_inferior().pid == 0:
        raise gdb.GdbError("Not connected; use target remote first.")
    try:
        gdb.execute("monitor " + command)
    except gdb.error as error:
        raise gdb.GdbError("chronovisor " + command.split()[0] + " failed.") from error


def captured(command):
    """The output of a monitor command that cannot fail, or nothing."""
    try:
        return gdb.execute("monitor " + command, to_string=True)
    except gdb.error:
        return ""


def arrive():
    """Carries out the travel that a monitor command has armed. gdb does not
    step off a breakpoint before going backward, so this resumes just once,
    and the stop refreshes every view."""
    gdb.execute("reverse-continue")


def place(text):
    """(address, bytes) of an expression: an object in memory, or an address."""
    value = gdb.parse_and_eval(text)
    if value.address is not None:
        return int(value.address), value.type.sizeof
    kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_PTR and kind.target().sizeof > 0:
        return int(value), kind.target().sizeof
    return int(value), 8


def split_count(argument, usage):
    """EXPRESSION [-- COUNT]; the rest of the line belongs to the expression."""
    expression, _, count = argument.partition("--")
    if not expression.strip():
        raise gdb.GdbError("Usage: " + usage)
    return expression.strip(), count.strip() or "10"


class Chronovisor(gdb.Command):
    """Travel through a recording and ask it questions."""

    def __init__(self):
        super().__init__("chronovisor", gdb.COMMAND_RUNNING, gdb.COMPLETE_NONE, True)


class Plain(gdb.Command):
    """A command that the server carries out as it stands."""

    def __init__(self, name, documentation, kind=gdb.COMMAND_STATUS):
        self.__doc__ = documentation
        self.verb = name
        super().__init__("chronovisor " + name, kind, gdb.COMPLETE_NONE)

    def invoke(self, argument, _from_tty):
        self.dont_repeat()
        monitor((self.verb + " " + argument).strip())


class Seek(gdb.Command):
    """Go to another position: chronovisor seek POSITION|+N|-N|start|end|BOOKMARK

Positions count the instructions since power-on; $position is the present one.
An expression that begins with $ or a parenthesis is evaluated."""

    def __init__(self):
        super().__init__("chronovisor seek", gdb.COMMAND_RUNNING)

    def invoke(self, argument, _from_tty):
        self.dont_repeat()
        target = argument.strip()
        if not target:
            raise gdb.GdbError("Usage: chronovisor seek POSITION|+N|-N|start|end|BOOKMARK")
        sign = target[0] if target[0] in "+-" else ""
        if target[len(sign):len(sign) + 1] in ("$", "("):
            target = sign + str(int(gdb.parse_and_eval(target[len(sign):])))
        monitor("seek " + target.replace(" ", ""))
        arrive()

    def complete(self, _text, word):
        names = [line.split()[-1] for line in captured("bookmark").splitlines() if line[:1] == " "]
        return [name for name in ["start", "end", *names] if name.startswith(word or "")]


class LastWrite(gdb.Command):
    """Go back to the latest write of an object: chronovisor last-write EXPRESSION

The machine then stands on the instruction that stores, before the store. The
expression is an object in memory, or a pointer or address of one."""

    def __init__(self):
        super().__init__("chronovisor last-write", gdb.COMMAND_RUNNING, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, _from_tty):
        self.dont_repeat()
        if not argument:
            raise gdb.GdbError("Usage: chronovisor last-write EXPRESSION")
        address, size = place(argument)
        monitor(f"last-write {address:#x} {size}")
        arrive()


class LastReached(gdb.Command):
    """Go back to the latest time a place was reached: chronovisor last-reached LOCATION

LOCATION is what `break` takes: a function, FILE:LINE, *ADDRESS. As with any way
back, a breakpoint or watchpoint that is met on the way stops there."""

    def __init__(self):
        super().__init__("chronovisor last-reached", gdb.COMMAND_RUNNING, gdb.COMPLETE_LOCATION)

    def invoke(self, argument, _from_tty):
        self.dont_repeat()
        if not argument:
            raise gdb.GdbError("Usage: chronovisor last-reached LOCATION")
        if gdb.selected_inferior().pid == 0:
            raise gdb.GdbError("Not connected; use target remote first.")
        gdb.decode_line(argument)  # complains of a place that does not exist
        mark = gdb.Breakpoint(argument, temporary=True)
        reached = []

        def note(event):
            reached.append(mark in getattr(event, "breakpoints", ()))

        gdb.events.stop.connect(note)
        try:
            gdb.execute("reverse-continue")
        finally:
            gdb.events.stop.disconnect(note)
            if mark.is_valid():  # another stop came first
                mark.delete()
        if not any(reached):
            raise gdb.GdbError(f"{argument} was not reached last.")


class History(gdb.Command):
    """List the latest writes of an object: chronovisor history EXPRESSION [-- COUNT]

Shows position, program counter, and the value before and after, latest first.
Does not move."""

    def __init__(self):
        super().__init__("chronovisor history", gdb.COMMAND_STATUS, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, _from_tty):
        self.dont_repeat()
        expression, count = split_count(argument, "chronovisor history EXPRESSION [-- COUNT]")
        address, size = place(expression)
        monitor(f"history {address:#x} {size} {count}")


class AtAddress(gdb.Command):
    """A server command whose argument is an address expression."""

    def __init__(self, name, documentation):
        self.__doc__ = documentation
        self.verb = name
        super().__init__("chronovisor " + name, gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, _from_tty):
        self.dont_repeat()
        if not argument:
            raise gdb.GdbError(f"Usage: chronovisor {self.verb} EXPRESSION")
        monitor(f"{self.verb} {int(gdb.parse_and_eval(argument)) & (1 << 64) - 1:#x}")


class Discard(gdb.Command):
    """Leave a branch: back to the timeline, where the branch began."""

    def __init__(self):
        super().__init__("chronovisor discard", gdb.COMMAND_RUNNING, gdb.COMPLETE_NONE)

    def invoke(self, _argument, _from_tty):
        self.dont_repeat()
        monitor("discard")
        arrive()


class GoLive(gdb.Command):
    """Go on from here with input from outside, recorded in a file of its own:
chronovisor go-live FILE [--serial none|pty|file:PATH] [--idle warp|wait] [--force]

Changes made to registers and memory before are part of it. Going back in time,
seek and chronovisor discard end the recording and return to this one."""

    def __init__(self):
        super().__init__("chronovisor go-live", gdb.COMMAND_RUNNING, gdb.COMPLETE_FILENAME)

    def invoke(self, argument, _from_tty):
        self.dont_repeat()
        if not argument.strip():
            raise gdb.GdbError("Usage: chronovisor go-live FILE [--serial none|pty|file:PATH] [--idle warp|wait] [--force]")
        monitor("go-live " + argument)


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


class AddVmlinux(gdb.Command):
    """Load the debug information of the guest's Linux kernel: chronovisor add-vmlinux FILE

FILE is the vmlinux of the very same build; it is loaded where KASLR has put the
kernel. Where the kernel is not in memory yet, symbols that were made by
`chronovisor symbols' tell where it will be. Symbols loaded before stay: those
have the modules, and unwind information for the kernel's assembly code.

The lx- commands of the kernel's source work with it. As lx-symbols loads the
vmlinux again, and gdb then does not move it, this follows it (with
hookpost-symbol-file) and does so."""

    loaded = None  # the one that was asked for last

    def __init__(self):
        super().__init__("chronovisor add-vmlinux", gdb.COMMAND_FILES, gdb.COMPLETE_FILENAME)
        self.kernel = self.slide = self.symbols = None

    def invoke(self, argument, _from_tty):
        self.dont_repeat()
        words = gdb.string_to_argv(argument)
        if len(words) != 1:
            raise gdb.GdbError("Usage: chronovisor add-vmlinux FILE")
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
        if gdb.selected_inferior().pid == 0:
            raise gdb.GdbError("Not connected; use target remote first.")
        try:
            found = re.search(r"_text is at (0x[0-9a-f]+)", gdb.execute("monitor linux-kernel", to_string=True))
            if found:
                return int(found[1], 16)
            reason = "the server does not say where the kernel is"
        except gdb.error as error:
            reason = str(error)
        if gdb.current_progspace().filename not in (None, kernel.path):
            try:
                return int(gdb.parse_and_eval("(unsigned long) &_text"))
            except gdb.error:
                pass
        raise gdb.GdbError(reason)

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


class Timeline(gdb.Command):
    """Draw the recording as a strip, with the present position."""

    def __init__(self):
        super().__init__("chronovisor timeline", gdb.COMMAND_STATUS, gdb.COMPLETE_NONE)

    def invoke(self, _argument, _from_tty):
        self.dont_repeat()
        width = gdb.parameter("width") or 80
        monitor(f"timeline {min(max(width - 20, 16), 200)}")


class Prefix(gdb.Command):
    """Settings of Chronovisor."""

    def __init__(self, verb):
        super().__init__(verb + " chronovisor", gdb.COMMAND_RUNNING, gdb.COMPLETE_NONE, True)


class Switch(gdb.Parameter):
    """A setting that the server keeps."""

    def __init__(self, name, verb, value, documentation):
        self.set_doc = "Set whether " + documentation
        self.show_doc = "Show whether " + documentation
        self.name, self.verb = name, verb
        super().__init__("chronovisor " + name, gdb.COMMAND_RUNNING, gdb.PARAM_BOOLEAN)
        self.value = value

    def get_set_string(self):
        monitor(f"{self.verb} {'on' if self.value else 'off'}")
        return ""

    def get_show_string(self, value):
        return f"chronovisor {self.name} is {value}."


class PositionFunction(gdb.Function):
    """The present position: $chronovisor_position()"""

    def __init__(self):
        super().__init__("chronovisor_position")

    def invoke(self):
        return int(gdb.parse_and_eval("$position"))


def install():
    Chronovisor()
    for name, documentation in (
            ("when", "Show where the machine is: position, virtual time, CPU mode."),
            ("info", "Show what was recorded."),
            ("events", "List inputs, interrupts and exceptions near here: chronovisor events [STEPS]"),
            ("bookmark", "Name this position for seek, in the recording: chronovisor bookmark [NAME]; without\n"
                         "NAME, list. --move NAME takes a name that exists here, --delete NAME removes it."),
            ("linux-kernel", "Show the guest kernel's version and where it is."),
            ("linux-log", "Show the guest kernel's log as of now."),
            ("linux-tasks", "List the guest's processes as of now."),
            ("linux-modules", "List the guest kernel's modules as of now.")):
        Plain(name, documentation)
    Plain("branch", "Leave the timeline here: the machine goes on without recorded input.\n"
                    "Writing a register or memory does so, too. chronovisor discard goes back.",
          gdb.COMMAND_RUNNING)
    Plain("disassemble", "Disassemble by the CPU's present mode: chronovisor disassemble [ADDRESS [COUNT]]",
          gdb.COMMAND_DATA)
    AtAddress("translate", "Translate a linear address: chronovisor translate EXPRESSION")
    AtAddress("walk", "Show the page-table entries for a linear address: chronovisor walk EXPRESSION")
    for command in (AddVmlinux, Seek, LastWrite, LastReached, History, Discard, GoLive, Timeline, PositionFunction):
        command()
    for verb in ("set", "show"):
        Prefix(verb)
    Switch("skip-interrupts", "skip-interrupts", True, "stepping passes over handlers merely delivered.")
    Switch("linear-pc", "linear-pc", True, "the program counter includes the base of CS.")
    Switch("physical-memory", "phys", False, "memory commands use physical addresses.")


install()
