#!/usr/bin/python3
"""What the interface's parts write into files: folded call stacks and a trace, which are
exact and the same each time, and a report in one page that fetches nothing."""
import base64
import html.parser
import json
import os
import re
import subprocess

from harness import Test


def options(parser):
    parser.add_argument("--perfetto-definition", help="Perfetto's perfetto_trace.proto, by which protoc decodes the trace, too")


test = Test(__doc__, extra=options)
recording = test.path("recording.cvr")
guest = test.guest("interrupts64")
test.run("record", "-o", recording, "--multiboot", guest, "--serial", f"file:{test.path('console')}")
test.run("bookmark", recording, "mark", "9000")
end = json.loads(test.run("info", recording, "--json").stdout)["end"]
end = end["position"] if isinstance(end, dict) else end

# A sample at every 100th step: as many as there are, and the same each time.
folded = test.run("export", recording, "--format", "folded", "--every", "100").stdout.decode()
counts = {}
for line in folded.splitlines():
    stack, count = line.rsplit(" ", 1)
    counts[stack] = int(count)
test.check(sum(counts.values()) == -(-end // 100), f"{sum(counts.values())} samples in {end} steps")
test.check(list(counts) == sorted(counts), "the lines are in no order")
test.check(any(stack.startswith("kernel;start") for stack in counts), f"no function that the guest has: {counts}")
again = test.run("export", recording, "--format", "folded", "--every", "100", "--symbols", guest).stdout.decode()
test.check(again == folded, "another time, other stacks")
# One sample a step is each instruction: a function has as many as `query executes` counts.
part = test.run("export", recording, "--format", "folded", "--every", "1", "--from", "mark", "--to", "9500").stdout.decode()
test.check(sum(int(line.rsplit(" ", 1)[1]) for line in part.splitlines()) == 500, f"not 500 steps: {part}")
test.run("export", recording, "--format", "folded", "--every", "0", expect=2)
test.run("export", recording, "--format", "cast", "--every", "5", expect=2)
test.run("export", recording, "--format", "folded", "--from", "500", "--to", "400", expect=2)

# A trace: slices on each track follow one another, and nothing is out of its place.
trace = json.loads(test.run("export", recording, "--format", "chrome-trace", "--every", "50").stdout)
tracks = {e["tid"]: e["args"]["name"] for e in trace["traceEvents"] if e["ph"] == "M"}
test.check({"mode", "function", "console", "bookmarks"} <= set(tracks.values()), f"tracks: {tracks}")
for number, name in tracks.items():
    slices = [e for e in trace["traceEvents"] if e["ph"] == "X" and e["tid"] == number]
    for one, other in zip(slices, slices[1:]):
        test.check(abs(one["ts"] + one["dur"] - other["ts"]) < 1e-6 and one["name"] != other["name"],
                   f"{name}: {one} is not followed by {other}")
marks = [e for e in trace["traceEvents"] if e["ph"] == "i" and tracks[e["tid"]] == "bookmarks"]
test.check(any(e["name"] == "mark" and e["args"]["position"] == 9000 for e in marks), f"bookmarks: {marks}")
said = "".join(e["name"] for e in trace["traceEvents"] if e["ph"] == "i" and tracks[e["tid"]] == "console")
with open(test.path("console"), encoding="utf-8") as file:
    test.check(said == file.read(), f"the console said something else: {said}")


# The same for Perfetto, by its definitions (protos/perfetto/trace): each field by its number
# and its kind, and nothing that is not among these.
VARINT, TEXT = "varint", "text"
DEFINITIONS = {
    "Trace": {1: ("packet", "TracePacket")},
    "TracePacket": {8: ("timestamp", VARINT), 10: ("trusted_packet_sequence_id", VARINT),
                    11: ("track_event", "TrackEvent"), 60: ("track_descriptor", "TrackDescriptor")},
    "TrackDescriptor": {1: ("uuid", VARINT), 2: ("name", TEXT), 5: ("parent_uuid", VARINT)},
    "TrackEvent": {4: ("debug_annotations", "DebugAnnotation"), 9: ("type", VARINT), 11: ("track_uuid", VARINT),
                   22: ("categories", TEXT), 23: ("name", TEXT)},
    "DebugAnnotation": {3: ("uint_value", VARINT), 10: ("name", TEXT)},
}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if not byte & 128:
            return value, at


def decoded(data, kind):
    fields, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        name, of = DEFINITIONS[kind][key >> 3]
        test.check(key & 7 == (0 if of == VARINT else 2), f"{kind}.{name} is of another kind")
        value, at = varint(data, at)
        if of != VARINT:
            piece, at = data[at:at + value], at + value
            test.check(len(piece) == value, f"{kind}.{name} ends early")
            value = piece.decode() if of == TEXT else decoded(piece, of)
        fields.setdefault(name, []).append(value)
    return fields


perfetto = ["export", recording, "--format", "perfetto", "--every", "50"]
binary = test.run(*perfetto).stdout
test.check(binary == test.run(*perfetto).stdout, "another time, another trace")
packets = decoded(binary, "Trace")["packet"]
if test.arguments.perfetto_definition:
    definition = os.path.abspath(test.arguments.perfetto_definition)
    done = subprocess.run(["protoc", "-I", os.path.dirname(definition), "--decode=perfetto.protos.Trace", definition],
                          input=binary, capture_output=True, check=False)
    text = done.stdout.decode()
    test.check(done.returncode == 0 and text.count("\npacket {") + 1 == len(packets) and
               not re.search(r"^\s*\d+[:{ ]", text, re.MULTILINE), "Perfetto's definition knows it otherwise", done)
tracks, open_slices, last, found = {}, {}, {}, {}
for packet in packets:
    test.check(packet["trusted_packet_sequence_id"] == [1], f"a packet of no sequence: {packet}")
    if "track_descriptor" in packet:
        one = packet["track_descriptor"][0]
        test.check(one["uuid"][0] not in tracks and one["uuid"][0] != 0, f"a track twice: {one}")
        test.check(one.get("parent_uuid", [1])[0] == 1, f"a track below none: {one}")
        tracks[one["uuid"][0]] = one["name"][0]
        continue
    event = packet["track_event"][0]
    name, kind, at = tracks[event["track_uuid"][0]], event["type"][0], packet["timestamp"][0]
    test.check(at >= last.get(name, 0), f"{name}: time goes back")
    last[name] = at
    if kind == 1:
        test.check(not open_slices.get(name), f"{name}: a slice within a slice")
        open_slices[name] = True
    elif kind == 2:
        test.check(open_slices.get(name), f"{name}: an end of nothing")
        open_slices[name] = False
    if kind != 2:
        annotation = event["debug_annotations"][0]
        found.setdefault(name, []).append((event["name"][0], annotation["uint_value"][0]))
        test.check(annotation["name"] == ["position"] and annotation["uint_value"][0] <= end, f"{event}")
test.check(not any(open_slices.values()), "a slice without an end")
test.check({"mode", "function", "console: debug-port", "bookmarks", "interrupts"} <= set(found), f"tracks: {set(found)}")
test.check("".join(piece for piece, _ in found["console: debug-port"]) == said, "the console says something else")
test.check(("mark", 9000) in found["bookmarks"], f"bookmarks: {found['bookmarks']}")
walked = [event["position"] for event in json.loads(subprocess.run(
    [test.program, "api", recording], input=json.dumps({"jsonrpc": "2.0", "id": 1, "method": "events", "params": {"limit": 1000}}).encode(),
    capture_output=True, check=True).stdout.splitlines()[-1])["result"]["events"] if event["kind"] == "delivery"]
test.check(sorted(at for name in ("interrupts", "exceptions") for _, at in found.get(name, [])) == walked,
           f"deliveries at {found['interrupts'][:5]}, but events says {walked[:5]}")

# What flame-graph tools read: a stack of frames between semicolons, a space and a number.
for line in folded.splitlines():
    test.check(re.fullmatch(r"[^;\s][^;]*(;[^;]+)* \d+", line), f"no folded stack: {line!r}")


class Page(html.parser.HTMLParser):
    """What a page is made of."""

    def __init__(self):
        super().__init__()
        self.tags, self.fetched, self.images, self.text = set(), [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name == "src" and value.startswith("data:image/png;base64,"):
                self.images.append(base64.b64decode(value.split(",", 1)[1]))
            elif name in ("src", "href", "style") or name.startswith("on"):
                self.fetched.append((tag, name, value))

    def handle_data(self, data):
        self.text += data


def page_of(path):
    with open(path, encoding="ascii") as file:
        content = file.read()
    page = Page()
    page.feed(content)
    test.check(not page.fetched and not page.tags & {"script", "link", "iframe", "object"} and "url(" not in content,
               f"the page is not alone: {page.fetched} {page.tags}")
    test.check("default-src 'none'" in content, "the page has no policy")
    return page


test.run("report", recording, "-o", test.path("page.html"))
page = page_of(test.path("page.html"))
for wanted in ("Recording", "Call stack", "Registers", "Instructions", "Console", "debug-exit", f"--at {end}", "#0"):
    test.check(wanted in page.text, f"the page does not have {wanted!r}")
test.run("report", recording, "-o", test.path("page.html"), expect=2)
test.run("report", recording, "-o", recording, "--force", expect=2)
test.run("report", recording, "-o", test.folder, "--at", "mark")  # a folder: report.html in it
test.check("--at 9000" in page_of(test.path("report.html")).text, "the page is of another place")

# What a guest writes stays text; a screen is a picture.
evil = test.path("evil.bin")
text = b"<script>alert(1)</script>&\x01\xff\n"
code = b"".join(b"\xb0" + bytes([byte]) + b"\xba\xf8\x03\xee" for byte in text)
with open(evil, "wb") as file:
    file.write(code + bytes.fromhex("b0fee664f4"))
test.run("record", "-o", test.path("evil.cvr"), "--flat", evil, "--serial", "none")
test.run("report", test.path("evil.cvr"), "-o", test.path("evil.html"))
test.check("<script>alert(1)</script>&??" in page_of(test.path("evil.html")).text, "the console is not there as text")
test.run("record", "-o", test.path("screen.cvr"), "--machine", "pc-2", "--serial", "none", "--limit", "5000000", expect=(0, 1))
test.run("report", test.path("screen.cvr"), "-o", test.path("screen.html"))
images = page_of(test.path("screen.html")).images
test.run("report", test.path("screen.cvr"), "--at", "start", "-o", test.path("dark.html"))
test.check(not page_of(test.path("dark.html")).images, "a picture of a screen without a mode")
test.check(images and images[0].startswith(b"\x89PNG"), "no picture of the screen")
print(f"{len(counts)} stacks, {len(trace['traceEvents'])} events, pages of {os.path.getsize(test.path('page.html'))} bytes")
