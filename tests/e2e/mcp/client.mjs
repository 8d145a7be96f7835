// Speaks the Model Context Protocol with its own client: client.mjs PROGRAM RECORDING, over
// standard input and output, or client.mjs ADDRESS, of `serve`, over HTTP. What tools answer is
// compared by the client with the schema that they publish.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [program, recording] = process.argv.slice(2);

function overHttp(address) {
  const [page, token] = address.split("#token=");
  return new StreamableHTTPClientTransport(new URL("mcp", page),
    { requestInit: { headers: { Authorization: `Bearer ${token}` } } });
}
const transport = program.startsWith("http:") ? overHttp(program)
  : new StdioClientTransport({ command: program, args: ["mcp", recording, "--at", "start"] });
const client = new Client({ name: "chronovisor-test", version: "1.0.0" });

function check(holds, what) {
  if (!holds) throw new Error(what);
}

await client.connect(transport);
check(client.getInstructions().includes("last_write"), "no instructions");
const { tools } = await client.listTools();
for (const tool of tools) {
  check(tool.description.length > 20, `${tool.name} is not described`);
  check(tool.annotations.readOnlyHint === true, `${tool.name} may change something`);
}
const names = tools.map((tool) => tool.name);
for (const name of ["info", "seek", "step", "run", "backtrace", "disassemble", "read_memory", "last_write", "writes",
  "executes", "screen", "console", "linux_log", "linux_tasks"]) {
  check(names.includes(name), `there is no tool ${name}`);
}
check(!names.includes("write_memory"), "changes are offered");

const call = async (name, given = {}) => {
  const answer = await client.callTool({ name, arguments: given });
  check(!answer.isError, `${name}: ${answer.content[0].text}`);
  check(JSON.stringify(JSON.parse(answer.content.at(-1).text)) === JSON.stringify(answer.structuredContent),
    `${name}: text and structure differ`);
  return answer.structuredContent;
};

const info = await call("info");
await call("seek", { place: 2000 });
const { instructions } = await call("disassemble", { count: 3 });
check(instructions.length === 3, "no instructions");
await call("backtrace");
const registers = await call("registers");
const stack = "0x" + (BigInt(registers.rsp) - 256n).toString(16);
let cursor = null, writes = 0;
do {
  const page = await call("writes", { address: stack, length: 256, limit: 10, cursor });
  writes += page.results.length;
  cursor = page.next;
} while (cursor !== null);
await call("events", { from: 0, to: 5000, limit: 5 });
await call("console");
await call("bookmarks");
await call("symbols", { limit: 5 });
await call("source", { address: "0x1000" });
const there = await call("seek", { place: "end" });
await call("last_write", { address: stack, length: 256 });

const refused = await client.callTool({ name: "read_memory", arguments: { address: "no_such_symbol" } });
check(refused.isError && refused.content[0].text.includes("no_such_symbol"), "a refusal says nothing");
let unknown = false;
await client.callTool({ name: "write_memory", arguments: {} }).catch(() => { unknown = true; });
check(unknown, "a tool that changes something was called");

// One that is cancelled ends; the session goes on.
const controller = new AbortController();
const slow = client.callTool({ name: "history", arguments: { address: stack, length: 256, count: 100 } }, undefined,
  { signal: controller.signal });
controller.abort("enough");
await slow.then(() => {}, () => {});
await client.ping();
console.log(JSON.stringify({
  tools: tools.length, writes,
  position: there.position, end: info.end,
}));
if (program.startsWith("http:")) {
  check(transport.sessionId?.length > 0, "no conversation");
  await transport.terminateSession();
}
await client.close();
