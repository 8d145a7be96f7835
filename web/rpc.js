// Owns the connection to the server: JSON-RPC 2.0 over one WebSocket. Calls can be
// cancelled, and are told of progress; notifications are events of their method's name.
// Knows no method.

export class CallError extends Error {
  constructor({ code, message, data }) {
    super(message);
    this.code = code;
    this.word = data?.code ?? "";
  }
  get cancelled() {
    return this.word === "cancelled";
  }
}

const kReconnectMs = 1500;

export class Rpc extends EventTarget {
  #url;
  #protocols;
  #socket = null;
  #waiting = new Map();
  #last = 0;
  #closed = false;
  /// "connecting", "open" or "lost".
  state = "connecting";

  constructor(url, protocols) {
    super();
    this.#url = url;
    this.#protocols = protocols;
    this.#connect();
  }

  #connect() {
    const socket = new WebSocket(this.#url, this.#protocols);
    this.#socket = socket;
    socket.addEventListener("open", () => this.#become("open", ""));
    socket.addEventListener("message", (event) => this.#receive(event.data));
    socket.addEventListener("close", (event) => {
      if (this.#socket !== socket) return;
      for (const call of this.#waiting.values()) {
        call.reject(new CallError({ code: 0, message: "the connection was lost", data: { code: "lost" } }));
      }
      this.#waiting.clear();
      this.#become("lost", event.reason);
      // 1008: the server does not want this page again.
      if (!this.#closed && event.code !== 1008) setTimeout(() => this.#connect(), kReconnectMs);
    });
  }

  #become(state, reason) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, reason } }));
  }

  #receive(text) {
    let messages;
    try {
      messages = JSON.parse(text);
    } catch {
      return;
    }
    for (const message of Array.isArray(messages) ? messages : [messages]) {
      if (message.method === "progress") {
        const { id, done, total, found = [], seen_ms_ago: age = 0 } = message.params ?? {};
        this.#waiting.get(id)?.progress?.(done, total, found, age);
      } else if (message.method) {
        this.dispatchEvent(new CustomEvent(message.method, { detail: message.params }));
      } else {
        const call = this.#waiting.get(message.id);
        if (!call) continue;
        this.#waiting.delete(message.id);
        if (message.error) call.reject(new CallError(message.error));
        else call.resolve(message.result);
      }
    }
  }

  #send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /// The answer. `signal` cancels it, and `progress` is told (done, total, found, age) now and
  /// then: `found` are positions that a search has found, the first of them seen `age` ms ago.
  call(method, params = {}, { signal, progress } = {}) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(new CallError({ code: -32800, message: "cancelled", data: { code: "cancelled" } }));
        return;
      }
      const id = ++this.#last;
      const cancel = () => this.#send({ jsonrpc: "2.0", method: "$/cancelRequest", params: { id } });
      const done = (then) => (value) => {
        signal?.removeEventListener("abort", cancel);
        then(value);
      };
      this.#waiting.set(id, { resolve: done(resolve), reject: done(reject), progress });
      signal?.addEventListener("abort", cancel);
      if (!this.#send({ jsonrpc: "2.0", id, method, params })) {
        this.#waiting.delete(id);
        done(reject)(new CallError({ code: 0, message: "there is no connection", data: { code: "lost" } }));
      }
    });
  }

  /// The answers to many small questions [[method, params], ...] at once; null where one failed.
  async each(questions, options = {}) {
    const calls = questions.map(([method, params]) => this.call(method, params, options));
    const outcomes = await Promise.allSettled(calls);
    return outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value : null));
  }

  close() {
    this.#closed = true;
    this.#socket?.close();
  }
}
