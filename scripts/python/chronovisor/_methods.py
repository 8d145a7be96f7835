"""What the interface takes and answers. Written by scripts/make-python-api; not by hand."""
from __future__ import annotations

from typing import Any, Literal, NotRequired, Protocol, TypedDict

API_VERSION = '1.3'
#: A number, "0x...", or a symbol, and "+NUMBER" behind it.
Address = int | str
#: A position, "start", "end", "+N", "-N", "packet:N", a bookmark or a function.
Place = int | str
#: The words for the numbers of errors.
FAULTS = {
    -32700: 'not-json',
    -32600: 'no-request',
    -32601: 'unknown-method',
    -32602: 'wrong-parameters',
    -32603: 'internal',
    -32001: 'refused',
    -32002: 'not-found',
    -32003: 'bad-input',
    -32004: 'divergence',
    -32005: 'host',
    -32006: 'read-only',
    -32007: 'busy',
    -32008: 'too-large',
    -32800: 'cancelled',
}


class VersionAnswer(TypedDict):
    program: str
    version: str
    #: Of the interface: "1.0"
    api: str
    #: Methods that change something are allowed
    allow_changes: bool


class InfoAnswer(TypedDict):
    file: str
    #: Of the file
    bytes: int
    created_utc: str
    #: What was booted
    kernel: str
    command_line: str
    memory_bytes: int
    engine: str
    #: The first position
    start: int
    #: The last position
    end: int
    checkpoints: int
    inputs: int
    #: How the run ended
    ended: Any | None
    #: What is wrong with the file
    damage: list[str]


class ReplicationAnswer(TypedDict):
    #: There is a control socket to ask
    asked: bool
    #: As `chronovisor status --json` has it
    run: Any | None
    #: Why it is not known
    trouble: str | None


class StripAnswer(TypedDict):
    #: '+' where checkpoints are
    strip: str
    #: 'i' input, 'b' bookmark, '.' console output
    marks: str
    #: Where the machine stands
    column: int
    position: int
    start: int
    end: int
    whereabouts: str


class ConsolePiece(TypedDict):
    position: int
    channel: str
    text: str


class ConsoleAnswer(TypedDict):
    pieces: list[ConsolePiece]
    #: Cursor for what follows
    next: str | None


class EventsEvent(TypedDict):
    position: int
    deliveries: int
    kind: Literal['input', 'delivery']
    #: Which kind of input
    what: NotRequired[str]
    #: Which device of the kind
    device: NotRequired[int]
    #: Those that lead to the handler
    vectors: NotRequired[list[int]]
    #: Where it is
    handler: NotRequired[str]
    #: What it is called
    symbol: NotRequired[str | None]


class EventsAnswer(TypedDict):
    events: list[EventsEvent]
    #: Cursor for what follows
    next: str | None


class BookmarksBookmark(TypedDict):
    name: str
    position: int


class BookmarksAnswer(TypedDict):
    bookmarks: list[BookmarksBookmark]
    #: How many there are
    total: int
    #: Cursor for what follows; null: that was all
    next: str | None


class LanesLane(TypedDict):
    name: str
    kind: Literal['console', 'input', 'network', 'disk', 'idle', 'checkpoint']
    #: What is counted
    unit: str
    #: In the whole recording
    total: int
    #: One a bin
    counts: list[int]


class LanesMark(TypedDict):
    name: str
    position: int
    kind: Literal['panic', 'stuck', 'bookmark']


LanesAnswer = TypedDict("LanesAnswer", {
    "from": "int",
    "to": "int",
    "bins": "int",
    "lanes": "list[LanesLane]",
    "marks": "list[LanesMark]",
    #: Where the machine stands
    "here": "int",
})


class ActivitySampleSpace(TypedDict):
    #: CR3
    space: str
    #: Per cent
    share: int


class ActivitySampleVector(TypedDict):
    vector: int
    kind: Literal['exception', 'interrupt']
    count: int


class ActivitySampleCall(TypedDict):
    number: int
    #: By a Linux kernel
    name: str | None
    count: int


class ActivitySample(TypedDict):
    bin: int
    #: From here on was looked
    position: int
    #: How far
    steps: int
    #: Per cent
    kernel: int
    #: Per cent
    user: int
    #: Per cent
    halted: int
    spaces: list[ActivitySampleSpace]
    vectors: list[ActivitySampleVector]
    #: System calls
    all_calls: int
    #: The most frequent
    calls: list[ActivitySampleCall]


ActivityAnswer = TypedDict("ActivityAnswer", {
    "from": "int",
    "to": "int",
    "bins": "int",
    #: All of each bin was run through
    "exact": "bool",
    "samples": "list[ActivitySample]",
    #: Cursor for further bins
    "next": "str | None",
})


class WhereGuestEnded(TypedDict):
    reason: str
    code: int
    #: Whose write ended it
    port: int | None


class WhereAnswer(TypedDict):
    #: Steps since power-on
    position: int
    #: Interrupts and exceptions delivered since arriving there
    deliveries: int
    #: Where the recording begins
    start: int
    #: Where it ends
    end: int
    #: The guest's time
    virtual_ns: int
    #: Linear address of the instruction that is next
    pc: str
    #: What is there
    symbol: str | None
    #: Of the processor: "64-bit", "real mode"
    mode: str
    #: 0: kernel, 3: user
    cpl: int
    halted: bool
    whereabouts: Literal['timeline', 'branch', 'live']
    #: How the guest ended, where it did so here
    guest_ended: WhereGuestEnded | None


class StepAnswer(TypedDict):
    #: Fewer where the recording ends
    taken: int
    where: WhereAnswer


class RunAnswer(TypedDict):
    stop: Literal['arrived', 'breakpoint', 'watchpoint', 'start', 'end', 'guest-ended']
    #: The breakpoints that it stopped for
    ids: list[int]
    #: The breakpoint's, or the first byte that was accessed
    address: str | None
    #: The access was a write
    wrote: bool
    #: That wrote, if it was none of the processor's
    device: str | None
    where: WhereAnswer


class SetBreakpointAnswer(TypedDict):
    id: int
    kind: Literal['execute', 'write', 'read', 'access']
    address: str
    length: int
    condition: str


class BreakpointsAnswer(TypedDict):
    breakpoints: list[SetBreakpointAnswer]


class DeleteBreakpointAnswer(TypedDict):
    deleted: int


class RegistersAnswer(TypedDict):
    rax: str
    rcx: str
    rdx: str
    rbx: str
    rsp: str
    rbp: str
    rsi: str
    rdi: str
    r8: str
    r9: str
    r10: str
    r11: str
    r12: str
    r13: str
    r14: str
    r15: str
    rip: str
    rflags: str
    cpl: int
    #: A segment: selector, base, limit, attributes
    cs: Any
    cr0: str
    cr2: str
    cr3: str
    cr4: str
    efer: str


class ReadMemoryAnswer(TypedDict):
    address: str
    #: Two hexadecimal digits each, in order
    bytes: str
    #: The first byte that cannot be read
    unreadable: str | None


class DisassembleInstruction(TypedDict):
    address: str
    symbol: str | None
    #: null: not mapped
    text: str | None
    #: The machine stands there
    here: bool


class DisassembleAnswer(TypedDict):
    instructions: list[DisassembleInstruction]


class BacktraceFrame(TypedDict):
    pc: str
    symbol: str | None
    sp: str
    #: How the frame was found
    by: Literal['registers', 'orc', 'frame-pointer']
    #: It was interrupted there and did not call
    interrupted: bool


class BacktraceAnswer(TypedDict):
    frames: list[BacktraceFrame]
    #: Why the last frame is the last
    ended: Literal['outermost', 'limit', 'no-frame-pointer', 'no-unwind-entry', 'unreadable']
    #: The same in words, where frames are missing
    why: str | None


class TraceAnswer(TypedDict):
    lines: list[str]
    #: The position behind the last
    next: int | None


class ScreenAnswer(TypedDict):
    #: Pixels
    width: int
    #: Pixels
    height: int
    #: Lines of a text mode; none in others
    text: list[str]
    #: The picture, in base64
    png: str | None


class TranslateAnswer(TypedDict):
    address: str
    #: null: not mapped
    physical: str | None


class WalkEntrie(TypedDict):
    level: str
    index: int
    physical: str
    in_register: bool
    value: str
    flags: str


class WalkAnswer(TypedDict):
    address: str
    physical: str | None
    paging: bool
    cr3: str
    #: Why it is not mapped
    trouble: str | None
    entries: list[WalkEntrie]


class MappingsRange(TypedDict):
    address: str
    bytes: int
    user: bool
    writable: bool


class MappingsAnswer(TypedDict):
    ranges: list[MappingsRange]
    #: How many there are
    total: int
    #: Cursor for what follows; null: that was all
    next: str | None


class LastWriteWrite(TypedDict):
    #: Where the machine stands on the instruction that writes
    position: int
    deliveries: int
    #: The instruction
    pc: str
    symbol: str | None
    #: The first byte that was written
    address: str
    #: The value before, a number or bytes
    before: str
    #: The value after
    after: str
    #: That wrote by itself; then the instruction did not
    device: NotRequired[str]
    #: What the device was doing
    request: NotRequired[str]
    #: The position at which it was told to
    started: NotRequired[int]
    #: Of the network, that it wrote
    packet: NotRequired[int]


class LastWriteAnswer(TypedDict):
    write: LastWriteWrite
    went: bool


class HistoryAnswer(TypedDict):
    writes: list[LastWriteWrite]
    #: There is none before these
    complete: bool


class ReadsRead(TypedDict):
    position: int
    deliveries: int
    pc: str
    symbol: str | None
    address: str


class ReadsAnswer(TypedDict):
    reads: list[ReadsRead]
    #: There is none before these
    complete: bool


class WritesResult(TypedDict):
    #: Just before it happened
    position: int
    deliveries: int
    pc: str
    symbol: str | None
    #: Which address space
    cr3: str
    #: The first watched byte that was written
    address: str
    by: Literal['instruction', 'delivery', 'device']
    device: NotRequired[str]
    request: NotRequired[str]
    started: NotRequired[int]
    #: Of a variable: its value
    before: NotRequired[str | None]
    after: NotRequired[str | None]


class WritesAnswer(TypedDict):
    results: list[WritesResult]
    #: Cursor with which to go on searching; null: there is no more
    next: str | None


class ExecutesResult(TypedDict):
    position: int
    deliveries: int
    pc: str
    symbol: str | None
    #: Which address space
    cr3: str


class ExecutesAnswer(TypedDict):
    results: list[ExecutesResult]
    #: Cursor with which to go on searching; null: there is no more
    next: str | None


class QueryAnswer(TypedDict):
    #: Of what it was asked
    recording: Any
    #: What was asked
    query: Any
    #: How many there are
    count: NotRequired[int]
    results: list[Any]


class SymbolAnswer(TypedDict):
    address: str
    #: "name+0x12"
    symbol: str | None
    name: str | None
    offset: int | None


class SymbolsSymbol(TypedDict):
    name: str
    address: str
    #: 0: not known
    size: int


class SymbolsAnswer(TypedDict):
    symbols: list[SymbolsSymbol]
    #: How many there are
    total: int
    #: Cursor for what follows; null: that was all
    next: str | None


class SourceLine(TypedDict):
    #: From here on
    address: str
    file: str
    line: int
    #: Of the line
    text: NotRequired[str]


class SourceAnswer(TypedDict):
    #: The first begins at the address or before; none: it is not known
    lines: list[SourceLine]


class LinuxKernelAnswer(TypedDict):
    version: str
    text_address: str


class LinuxLogLine(TypedDict):
    time_ns: int
    #: As syslog(3) has it
    level: int
    text: str


class LinuxLogAnswer(TypedDict):
    lines: list[LinuxLogLine]
    #: How many there are
    total: int
    #: Cursor for what follows; null: that was all
    next: str | None


class LinuxTasksTask(TypedDict):
    pid: int
    parent: int
    name: str
    #: As ps(1) has it
    state: str
    threads: int
    kernel_thread: bool
    on_cpu: bool
    task_struct: str


class LinuxTasksAnswer(TypedDict):
    tasks: list[LinuxTasksTask]
    #: How many there are
    total: int
    #: Cursor for what follows; null: that was all
    next: str | None


class LinuxModulesModule(TypedDict):
    name: str
    base: str
    size: int
    symbols: int


class LinuxModulesAnswer(TypedDict):
    modules: list[LinuxModulesModule]
    #: How many there are
    total: int
    #: Cursor for what follows; null: that was all
    next: str | None


class WriteMemoryAnswer(TypedDict):
    #: How many bytes
    written: int
    where: WhereAnswer


class WriteRegisterAnswer(TypedDict):
    where: WhereAnswer


class SetBookmarkAnswer(TypedDict):
    name: str
    position: int
    #: It is kept
    in_file: bool
    #: Why it is not in the file
    trouble: str | None


class DeleteBookmarkAnswer(TypedDict):
    name: str
    trouble: str | None


class SetAnswer(TypedDict):
    setting: str
    on: bool
    meaning: str


class MonitorAnswer(TypedDict):
    answer: Any


class Caller(Protocol):
    """What carries a call to the program and brings its answer."""

    def call(self, method: str, parameters: dict[str, Any]) -> Any: ...


class Methods:
    """The interface as it is, a method each."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def version(self) -> VersionAnswer:
        """Which program answers, and by which version of this interface."""
        return self._caller.call('version', {})

    def info(self) -> InfoAnswer:
        """What was recorded: the guest, when and on what, from which position to which, and how it ended."""
        return self._caller.call('info', {})

    def replication(self) -> ReplicationAnswer:
        """How the replicated run stands that makes the recording, as its control socket says; needs
        --control.
        """
        return self._caller.call('replication', {})

    def strip(self, columns: int | None = None) -> StripAnswer:
        """The recording from start to end in columns of text: where checkpoints, console output, inputs
        and bookmarks are.

        :param columns: How many columns (64)
        """
        return self._caller.call('strip', {'columns': columns})

    def console(
            self,
            from_: Place | None = None,
            *,
            to: Place | None = None,
            limit: int | None = None,
            cursor: str | None = None) -> ConsoleAnswer:
        """What the guest wrote to its consoles, with the positions at which it did. To read the end of a
        long console, give a later `from`.

        :param from_: Output from this place on (start)
        :param to: Output up to this place (end)
        :param limit: Most bytes of text in one answer (16384)
        :param cursor: The `next` of the answer before: go on there
        """
        return self._caller.call('console', {'from': from_, 'to': to, 'limit': limit, 'cursor': cursor})

    def events(
            self,
            from_: Place | None = None,
            *,
            to: Place | None = None,
            limit: int | None = None,
            cursor: str | None = None) -> EventsAnswer:
        """Inputs, and interrupts and exceptions that were delivered to the guest, in order. Interrupts are
        found by running through the stretch, by the interrupt tables here and at its ends: keep it to
        some hundred million steps.

        :param from_: Events from this place on (start)
        :param to: Events up to this place (end)
        :param limit: Most entries of one answer (100)
        :param cursor: The `next` of the answer before: go on there
        """
        return self._caller.call('events', {'from': from_, 'to': to, 'limit': limit, 'cursor': cursor})

    def bookmarks(self, limit: int | None = None, *, cursor: str | None = None) -> BookmarksAnswer:
        """The bookmarks of the recording. Their names are places.

        :param limit: Most entries of one answer (100)
        :param cursor: The `next` of the answer before: go on there
        """
        return self._caller.call('bookmarks', {'limit': limit, 'cursor': cursor})

    def lanes(
            self,
            from_: Place | None = None,
            *,
            to: Place | None = None,
            bins: int | None = None) -> LanesAnswer:
        """What happened where, counted in bins of a stretch: console output, inputs, packets, new data
        from disks, checkpoints, and the bookmarks. By the recording's log alone, at once however long
        the stretch is.

        :param from_: The first position (start)
        :param to: The last position (end)
        :param bins: How many bins (512)
        """
        return self._caller.call('lanes', {'from': from_, 'to': to, 'bins': bins})

    def activity(
            self,
            from_: Place | None = None,
            *,
            to: Place | None = None,
            bins: int | None = None,
            cursor: str | None = None) -> ActivityAnswer:
        """What the processor did in a stretch, in bins: kernel, programs and waiting in per cent, address
        spaces, interrupts and exceptions by vector, and system calls by number. Of up to 20,000,000
        steps all of it; of more a short run in each bin, the bins from coarse to fine, a page at a
        time. Per cent are of 16 looks at the processor in what was run.

        :param from_: The first position (start)
        :param to: The last position (end)
        :param bins: How many bins (256)
        :param cursor: The `next` of the answer before: go on there
        """
        return self._caller.call('activity', {'from': from_, 'to': to, 'bins': bins, 'cursor': cursor})

    def where(self) -> WhereAnswer:
        """Where in the recording the machine stands, and what its processor is about to execute."""
        return self._caller.call('where', {})

    def seek(self, place: Place) -> WhereAnswer:
        """Goes to a place of the recording: a position (steps since power-on), "start", "end", "+N" or
        "-N" steps from here, "packet:N", the name of a bookmark, or of a function: where it was entered
        last ("function:NAME" where a bookmark has its name).

        :param place: Where to
        """
        return self._caller.call('seek', {'place': place})

    def step(
            self,
            count: int | None = None,
            *,
            direction: Literal['forward', 'backward'] | None = None) -> StepAnswer:
        """Goes so many instructions forward or backward. Handlers of interrupts that were merely delivered
        are passed over; breakpoints are not looked at.

        :param count: How many instructions (1)
        :param direction: Which way in time (forward)
        """
        return self._caller.call('step', {'count': count, 'direction': direction})

    def run(
            self,
            direction: Literal['forward', 'backward'] | None = None,
            *,
            until: Address | None = None,
            to: Place | None = None) -> RunAnswer:
        """Runs forward or backward to the nearest breakpoint or watchpoint, or to the end or start of the
        recording. A watchpoint stops behind the access when running forward, on the instruction that
        made it when running backward.

        :param direction: Which way in time (forward)
        :param until: Stop also at this instruction, this time
        :param to: Forward: no further than here
        """
        return self._caller.call('run', {'direction': direction, 'until': until, 'to': to})

    def set_breakpoint(
            self,
            address: Address,
            *,
            kind: Literal['execute', 'write', 'read', 'access'] | None = None,
            length: int | None = None,
            condition: str | None = None) -> SetBreakpointAnswer:
        """Sets a breakpoint (execute) or a watchpoint (write, read, access) for `run`. A condition is an
        expression like "$rax == 5 && u32[0x1000] > 3"; for a watchpoint `value` is what was written.

        :param address: Linear address
        :param kind: What stops (execute)
        :param length: Bytes that are watched (1)
        :param condition: Stop only where this holds
        """
        return self._caller.call('set_breakpoint', {'address': address, 'kind': kind, 'length': length, 'condition': condition})

    def breakpoints(self) -> BreakpointsAnswer:
        """The breakpoints and watchpoints that are set."""
        return self._caller.call('breakpoints', {})

    def delete_breakpoint(self, id: int) -> DeleteBreakpointAnswer:
        """Takes a breakpoint or watchpoint off.

        :param id: Which one
        """
        return self._caller.call('delete_breakpoint', {'id': id})

    def registers(self) -> RegistersAnswer:
        """The processor's registers where the machine stands."""
        return self._caller.call('registers', {})

    def read_memory(
            self,
            address: Address,
            *,
            length: int | None = None,
            physical: bool | None = None) -> ReadMemoryAnswer:
        """Reads memory as it is where the machine stands.

        :param address: The first byte
        :param length: How many bytes (64)
        :param physical: The address is a physical one (False)
        """
        return self._caller.call('read_memory', {'address': address, 'length': length, 'physical': physical})

    def disassemble(self, address: Address | None = None, *, count: int | None = None) -> DisassembleAnswer:
        """Instructions in AT&T's syntax, with symbols.

        :param address: The first instruction; where the machine stands if not given
        :param count: How many instructions (10)
        """
        return self._caller.call('disassemble', {'address': address, 'count': count})

    def backtrace(self, limit: int | None = None) -> BacktraceAnswer:
        """The call stack where the machine stands, the innermost frame first. Through a Linux kernel by
        its own unwind tables; elsewhere by frame pointers, which not all programs keep: `ended` says
        why there is no further frame.

        :param limit: Most frames (32)
        """
        return self._caller.call('backtrace', {'limit': limit})

    def trace(self, from_: Place | None = None, *, count: int | None = None) -> TraceAnswer:
        """Instructions as they were executed, one a line: position, address, bytes, text, and the
        registers that changed. The machine stays.

        :param from_: The first; where the machine stands if not given
        :param count: How many steps (20)
        """
        return self._caller.call('trace', {'from': from_, 'count': count})

    def screen(self, format: Literal['png', 'text'] | None = None) -> ScreenAnswer:
        """What the guest's screen shows: a picture, and the characters of a text mode.

        :param format: text: without the picture (png)
        """
        return self._caller.call('screen', {'format': format})

    def translate(self, address: Address) -> TranslateAnswer:
        """The physical address that a linear one is mapped to.

        :param address: Linear address
        """
        return self._caller.call('translate', {'address': address})

    def walk(self, address: Address) -> WalkAnswer:
        """The entries of the page tables on the way to an address.

        :param address: Linear address
        """
        return self._caller.call('walk', {'address': address})

    def mappings(self, limit: int | None = None, *, cursor: str | None = None) -> MappingsAnswer:
        """The ranges of linear addresses that are mapped, with their rights.

        :param limit: Most entries of one answer (100)
        :param cursor: The `next` of the answer before: go on there
        """
        return self._caller.call('mappings', {'limit': limit, 'cursor': cursor})

    def last_write(
            self,
            address: Address,
            *,
            length: int | None = None,
            physical: bool | None = None,
            go: bool | None = None) -> LastWriteAnswer:
        """Who wrote this? The latest write of a range of memory before where the machine stands: the
        instruction, and the value before and after. With `go` the machine goes to that instruction; ask
        `backtrace` there.

        :param address: The first byte
        :param length: How many bytes (8)
        :param physical: The address is a physical one: by any mapping, and by devices (False)
        :param go: Go there; otherwise the machine stays (False)
        """
        return self._caller.call('last_write', {'address': address, 'length': length, 'physical': physical, 'go': go})

    def history(
            self,
            address: Address,
            *,
            length: int | None = None,
            count: int | None = None,
            physical: bool | None = None) -> HistoryAnswer:
        """The latest writes of a range of memory before where the machine stands, the latest first, with
        the values before and after.

        :param address: The first byte
        :param length: How many bytes (8)
        :param count: How many writes (10)
        :param physical: The address is a physical one (False)
        """
        return self._caller.call('history', {'address': address, 'length': length, 'count': count, 'physical': physical})

    def reads(self, address: Address, *, length: int | None = None, count: int | None = None) -> ReadsAnswer:
        """The latest reads of a range of memory before where the machine stands, the latest first.

        :param address: The first byte
        :param length: How many bytes (8)
        :param count: How many reads (10)
        """
        return self._caller.call('reads', {'address': address, 'length': length, 'count': count})

    def find_write(
            self,
            address: Address,
            *,
            length: int | None = None,
            direction: Literal['forward', 'backward'] | None = None,
            condition: str | None = None,
            physical: bool | None = None,
            go: bool | None = None) -> ReadsRead:
        """The nearest write of a range, in either direction, for which a condition holds, as "value == 0"
        or "value > 100 && $cpl == 3". Backward it is the place of the writing instruction, forward the
        one behind it.

        :param address: The first byte
        :param length: How many bytes (8)
        :param direction: Which way in time (forward)
        :param condition: Only a write for which this holds
        :param physical: The address is a physical one (False)
        :param go: Go there; otherwise the machine stays (False)
        """
        return self._caller.call('find_write', {'address': address, 'length': length, 'direction': direction, 'condition': condition, 'physical': physical, 'go': go})

    def find_arrival(
            self,
            address: Address,
            *,
            direction: Literal['forward', 'backward'] | None = None,
            condition: str | None = None,
            go: bool | None = None) -> ReadsRead:
        """The nearest arrival at an instruction, as at the beginning of a function, in either direction.

        :param address: The instruction
        :param direction: Which way in time (backward)
        :param condition: Only where this holds, as "$rdi == 0"
        :param go: Go there; otherwise the machine stays (False)
        """
        return self._caller.call('find_arrival', {'address': address, 'direction': direction, 'condition': condition, 'go': go})

    def writes(
            self,
            address: Address,
            *,
            length: int | None = None,
            from_: Place | None = None,
            to: Place | None = None,
            limit: int | None = None,
            cursor: str | None = None,
            physical: bool | None = None) -> WritesAnswer:
        """All writes into a range of memory, from first to last, over the whole recording or a stretch of
        it, a page at a time.

        :param address: The first byte
        :param length: How many bytes (1)
        :param from_: Positions from here on (start)
        :param to: Positions before here (end)
        :param limit: Most entries of one answer (100)
        :param cursor: The `next` of the answer before: go on there
        :param physical: The address is a physical one: writes by any mapping, and by devices (False)
        """
        return self._caller.call('writes', {'address': address, 'length': length, 'from': from_, 'to': to, 'limit': limit, 'cursor': cursor, 'physical': physical})

    def executes(
            self,
            address: Address,
            *,
            length: int | None = None,
            from_: Place | None = None,
            to: Place | None = None,
            limit: int | None = None,
            cursor: str | None = None) -> ExecutesAnswer:
        """All arrivals at an instruction, or at those in a range, from first to last, a page at a time.

        :param address: The first byte
        :param length: Bytes of code in which the instruction begins (1)
        :param from_: Positions from here on (start)
        :param to: Positions before here (end)
        :param limit: Most entries of one answer (100)
        :param cursor: The `next` of the answer before: go on there
        """
        return self._caller.call('executes', {'address': address, 'length': length, 'from': from_, 'to': to, 'limit': limit, 'cursor': cursor})

    def values(
            self,
            address: Address,
            *,
            length: int | None = None,
            from_: Place | None = None,
            to: Place | None = None,
            limit: int | None = None,
            cursor: str | None = None) -> WritesAnswer:
        """The history of a variable: each write that changed it, with the value before and after, from
        first to last, a page at a time.

        :param address: The first byte
        :param length: Bytes of the variable: 1, 2, 4 or 8 (8)
        :param from_: Positions from here on (start)
        :param to: Positions before here (end)
        :param limit: Most entries of one answer (100)
        :param cursor: The `next` of the answer before: go on there
        """
        return self._caller.call('values', {'address': address, 'length': length, 'from': from_, 'to': to, 'limit': limit, 'cursor': cursor})

    def query(
            self,
            address: Address,
            *,
            kind: Literal['writes', 'executes', 'value'] | None = None,
            select: Literal['all', 'first', 'last', 'count'] | None = None,
            length: int | None = None,
            physical: bool | None = None,
            from_: Place | None = None,
            to: Place | None = None,
            limit: int | None = None,
            jobs: int | None = None) -> QueryAnswer:
        """Searches the whole stretch at once: how many writes, executions or changes of a value there are,
        the first, the last, or the earliest of them. For pages use writes, executes or values.

        :param address: The first byte
        :param kind: What is looked for (writes)
        :param select: Which of them; all: the earliest, and how many (count)
        :param length: Bytes; 1, 2, 4 or 8 of a value (1)
        :param physical: Of writes: the address is a physical one (False)
        :param from_: Positions from here on (start)
        :param to: Positions before here (end)
        :param limit: Most entries of one answer (100)
        :param jobs: Threads; 0: one a core (0)
        """
        return self._caller.call('query', {'address': address, 'kind': kind, 'select': select, 'length': length, 'physical': physical, 'from': from_, 'to': to, 'limit': limit, 'jobs': jobs})

    def symbol(self, address: Address) -> SymbolAnswer:
        """What an address is called; or, given a name, where it is.

        :param address: An address, or a name
        """
        return self._caller.call('symbol', {'address': address})

    def symbols(
            self,
            match: str | None = None,
            *,
            limit: int | None = None,
            cursor: str | None = None) -> SymbolsAnswer:
        """The guest's symbols, by address: functions and variables of a Linux kernel, and of the programs
        whose files were given with --symbols.

        :param match: Only names that have this in them
        :param limit: Most entries of one answer (100)
        :param cursor: The `next` of the answer before: go on there
        """
        return self._caller.call('symbols', {'match': match, 'limit': limit, 'cursor': cursor})

    def source(self, address: Address, *, length: int | None = None) -> SourceAnswer:
        """Which lines of which source files instructions come from, by the debug information of the files
        given with --symbols; their text is that of files in the folders given with --source-dir, as
        they are now.

        :param address: The first instruction
        :param length: Bytes of code (1)
        """
        return self._caller.call('source', {'address': address, 'length': length})

    def linux_kernel(self) -> LinuxKernelAnswer:
        """Which Linux kernel runs in the guest."""
        return self._caller.call('linux_kernel', {})

    def linux_log(
            self,
            tail: bool | None = None,
            *,
            limit: int | None = None,
            cursor: str | None = None) -> LinuxLogAnswer:
        """The Linux kernel's log (dmesg) as it is where the machine stands.

        :param tail: Begin so that the last lines are shown (True)
        :param limit: Most entries of one answer (50)
        :param cursor: The `next` of the answer before: go on there
        """
        return self._caller.call('linux_log', {'tail': tail, 'limit': limit, 'cursor': cursor})

    def linux_tasks(self, limit: int | None = None, *, cursor: str | None = None) -> LinuxTasksAnswer:
        """The processes of a Linux guest where the machine stands.

        :param limit: Most entries of one answer (100)
        :param cursor: The `next` of the answer before: go on there
        """
        return self._caller.call('linux_tasks', {'limit': limit, 'cursor': cursor})

    def linux_modules(self, limit: int | None = None, *, cursor: str | None = None) -> LinuxModulesAnswer:
        """The modules of a Linux guest where the machine stands.

        :param limit: Most entries of one answer (100)
        :param cursor: The `next` of the answer before: go on there
        """
        return self._caller.call('linux_modules', {'limit': limit, 'cursor': cursor})

    def branch(self) -> WhereAnswer:
        """Leaves the recorded run here: from now on the guest goes on without its recorded input, and can
        be changed. The recording stays as it is.
        """
        return self._caller.call('branch', {})

    def discard(self) -> WhereAnswer:
        """Gives a branch up: back to the recorded run, where the branch left it."""
        return self._caller.call('discard', {})

    def write_memory(
            self,
            address: Address,
            bytes: str,
            *,
            physical: bool | None = None) -> WriteMemoryAnswer:
        """Writes the guest's memory; the machine is on a branch then.

        :param address: The first byte
        :param bytes: Two hexadecimal digits each
        :param physical: The address is a physical one (False)
        """
        return self._caller.call('write_memory', {'address': address, 'bytes': bytes, 'physical': physical})

    def write_register(
            self,
            name: Literal['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rip'],
            value: Address) -> WriteRegisterAnswer:
        """Writes a register; the machine is on a branch then.

        :param name: Which one
        :param value: A number, or a symbol
        """
        return self._caller.call('write_register', {'name': name, 'value': value})

    def set_bookmark(self, name: str, *, move: bool | None = None) -> SetBookmarkAnswer:
        """Gives the place where the machine stands a name, in the recording's file.

        :param name: What to call it
        :param move: The name may exist: it is taken here (False)
        """
        return self._caller.call('set_bookmark', {'name': name, 'move': move})

    def delete_bookmark(self, name: str) -> DeleteBookmarkAnswer:
        """Takes a bookmark out of the recording.

        :param name: Which one
        """
        return self._caller.call('delete_bookmark', {'name': name})

    def set(
            self,
            setting: Literal['skip-interrupts', 'linear-pc', 'physical-memory'] | None = None,
            *,
            on: bool | None = None) -> SetAnswer:
        """Sets how this session behaves.

        :param setting: skip-interrupts: steps pass over handlers that were merely delivered; the others
            are for debuggers (skip-interrupts)
        :param on: On or off (True)
        """
        return self._caller.call('set', {'setting': setting, 'on': on})

    def monitor(self, line: str, *, go: bool | None = None) -> MonitorAnswer:
        """A command of the debugger's monitor, as "info pic" or "events 5000"; "help" lists them. The
        answer is that command's JSON.

        :param line: The command and its words
        :param go: Go to the place that it armed (False)
        """
        return self._caller.call('monitor', {'line': line, 'go': go})
