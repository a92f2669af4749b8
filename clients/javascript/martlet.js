// SPDX-License-Identifier: Apache-2.0

/** Another attempt cannot help. */
const FINAL = [1000, 1002, 1003, 1007, 1008, 1009, 4400, 4403, 4409];
/** Breaks a socket; its session waits. */
const DEAD = 4408;

/** Works like a WebSocket, by server-sent events and posts. */
class Stream {
  #url;
  #over = new AbortController();
  #outbox = []; // unhandled messages; while there are any, #post runs
  #posting;

  constructor(url, jwt, resume) {
    this.#url = new URL("sse" + url.search, url.href.replace("ws", "http"));
    this.jwt = jwt;
    this.#run(this.#read(resume));
  }

  async #run(work) {
    const end = await work.catch((error) => ({ code: 1006, reason: error.message }));
    if (!end) return;
    this.#over.abort();
    this.onclose(end);
  }

  #fetch(method, word, more) {
    const token = this.greeting?.session;
    const headers = token ? { "Martlet-Session": `${token} ${word}` } : { "Martlet-Resume": word };
    if (this.jwt) headers.Authorization = `Bearer ${this.jwt}`;
    return fetch(this.#url, { method, headers, cache: "no-store", ...more });
  }

  async #read(resume) {
    const response = await this.#fetch("GET", resume, { signal: this.#over.signal });
    const { ok, status } = response;
    if (!ok) {
      const { code, detail } = await response.json(); // fails for a proxy's refusal
      return { code: status === 503 ? 1013 : code && status < 500 ? 4000 + status : 1006, reason: detail };
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return { code: 1006 };
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const [head, ...lines] = `\n${event}`.split(/\ndata: ?/);
        if (/event: ?close/.test(head)) return JSON.parse(lines[0]);
        this.onmessage({ data: lines.length && lines.join("\n") }); // 0 in a heartbeat
      }
    }
  }

  send(text, number) {
    if (!this.greeting.session || this.#outbox.push(text.replace(/[\r\n]+|^$/g, " ")) > 1) return;
    this.#posting = this.#run(this.#post(number));
  }

  async #post(number) {
    await 0; // what is sent at once goes together
    while (this.#outbox.length && !this.#over.signal.aborted) {
      let size = 0; // in characters, of at most 3 bytes
      const body = this.#outbox.slice(0, 64).filter((text, i) => (size += text.length) <= 20_000 || !i).join("\n");
      const response = await this.#fetch("POST", number, { body, signal: AbortSignal.timeout?.(60_000) });
      const { status } = response;
      const next = [429, 503].includes(status) ? number : (await response.json()).received + 1;
      if (!(next >= number)) return { code: status === 413 ? 1009 : 1006, reason: `posting: ${status}` };
      this.#outbox.splice(0, next - number);
      const pause = 1_000 * (+response.headers.get("Retry-After") || 1);
      if (next === number) await new Promise((resolve) => setTimeout(resolve, pause));
      number = next;
    }
  }

  async close(code) {
    if (code === 1000 && this.greeting?.session) {
      await this.#posting;
      this.#fetch("DELETE", 0, { keepalive: true }).catch(() => {});
    }
    this.#over.abort();
  }
}

/** Types and documentation: martlet.d.ts. */
export class Martlet extends EventTarget {
  transport = "websocket";

  #url;
  #options;
  #over = new AbortController();

  #socket; // others are ignored
  #timer;
  #blocked = 0; // WebSockets in a row without a first frame; after 2, a Stream, at once
  #failures = 0;
  #jwt;
  #why = "connect"; // for getToken
  #wasRejected = false;
  #changedAt; // opened, or lost
  #heardAt;
  #probedAt; // unanswered

  #session; // its token; null if expired
  #received = 0; // messages of this session from the server,
  #confirmed = 0; // and how many of them it knows to be here
  #sent = 0; // messages of this session to the server
  #unconfirmed = []; // messages on a socket: { id, text, room?, number }
  #confirmTimer;

  #queue = []; // messages on no socket, or unhandled, by id
  #lastId = 0;
  #queueTimer;
  #holdUntil = 0;
  #pace = 0; // ms between messages, after too many
  #rooms = new Set(); // the texts that join them

  constructor(url, { threads = [], jobs = [], signal, ...options } = {}) {
    super();
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#url.hash = "";
    this.#options = options;
    for (const thread of [threads].flat()) this.join({ thread });
    for (const job of [jobs].flat()) this.join({ job });
    if (signal?.aborted) return this.close();

    const until = { signal: this.#over.signal };
    signal?.addEventListener("abort", () => this.close(), until);
    const wake = () => this.#wake();
    globalThis.addEventListener?.("online", wake, until);
    globalThis.addEventListener?.("pageshow", (event) => event.persisted && wake(), until);
    const page = globalThis.document;
    page?.addEventListener("resume", wake, until);
    page?.addEventListener("visibilitychange", () => page.hidden || wake(), until);
    this.#connect();
  }

  send(value) {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    if (this.state === "closed" || text === undefined) return false;
    if (this.#queue.filter(({ room }) => !room).length >= 100) return false;
    this.#enqueue({ text });
    return true;
  }

  join(room) {
    this.#change(room, true);
  }

  leave(room) {
    this.#change(room, false);
  }

  close() {
    this.#end(1000, "closed by the application");
  }

  // The socket

  async #connect() {
    this.#set("connecting");
    if (this.state === "closed") return;
    const attempt = (this.#socket = {});
    try {
      if (this.#options.getToken && this.#jwt === undefined) {
        this.#after(10_000, () => this.#lose(0, "getToken did not answer within 10 s"));
        const token = await Promise.resolve(this.#why).then(this.#options.getToken);
        if (attempt !== this.#socket) return;
        this.#jwt = token;
      }
      if (this.#session && performance.now() - this.#changedAt >= this.greeting.resume_window_ms) this.#session = null;
      const resume = this.#session ? `${this.#session}.${this.#received}` : "new";
      const protocols = ["martlet"];
      if (this.#options.resume !== false) protocols.push(`resume.${resume}`);
      if (this.#jwt) protocols.push(`bearer.${this.#jwt}`);
      const isStream = this.#blocked > 1;
      this.transport = isStream ? "sse" : "websocket";
      const socket = (this.#socket = isStream
        ? new Stream(this.#url, this.#jwt, resume.replace(".", " "))
        : new WebSocket(this.#url.href, protocols));
      socket.onmessage = ({ data }) => socket === this.#socket && this.#hear(data);
      socket.onclose = ({ code, reason }) => socket === this.#socket && this.#lose(code, reason);
      this.#after(10_000, () => this.#break("no first frame within 10 s"));
    } catch (error) {
      if (attempt === this.#socket) this.#lose(0, String(error?.message ?? error));
    }
  }

  #break(reason) {
    this.#socket.close(DEAD);
    this.#lose(DEAD, reason); // onclose may take minutes
  }

  #lose(code, reason) {
    this.#halt();
    const now = performance.now();
    if (this.state === "open") {
      this.#blocked = this.#blocked > 1 ? 1 : 0; // one more, after a Stream
      if (now - this.#changedAt >= 5_000) {
        this.#failures = 0;
        this.#wasRejected = false;
      }
      this.#changedAt = now;
    } else {
      this.#jwt = undefined; // perhaps that is why
      const canStream = this.#options.sse !== false && globalThis.TextDecoderStream;
      const isBlocked = canStream && [1006, DEAD].includes(code) && globalThis.navigator?.onLine !== false;
      if (code) this.#blocked = isBlocked ? (this.#blocked + 1) % 3 : 0;
    }
    if (FINAL.includes(code)) return this.#end(code, reason);

    let exponent = this.#failures++;
    if (code === 4401) {
      if (!this.#options.getToken) return this.#end(code, reason);
      this.#jwt = undefined;
      this.#why = "rejected";
      if (!this.#wasRejected) exponent = 0;
      this.#wasRejected = true;
    }
    this.#wait(code, reason, this.#blocked > 1 ? 0 : Math.min(20_000, 500 * 2 ** exponent) * Math.random());
  }

  #wait(code, reason, pause) {
    this.#after(pause, () => this.#connect());
    this.#set("waiting", code, reason, Date.now() + pause);
  }

  #after(pause, act) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, pause);
  }

  #halt() {
    this.#socket = undefined;
    clearTimeout(this.#timer);
    clearTimeout(this.#queueTimer);
    this.#confirmTimer = clearTimeout(this.#confirmTimer);
  }

  #end(code, reason) {
    if (this.state === "closed") return;
    this.#socket?.close?.(1000);
    this.#halt();
    this.#over.abort();
    this.#queue = this.#unconfirmed = [];
    this.#set("closed", code, reason);
  }

  #set(state, code = 0, reason = "", retryAt = 0) {
    const detail = { state, code, reason, retryAt };
    Object.assign(this, detail);
    this.#emit("state", detail);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // Signs of life

  #wake() {
    if (this.state === "open") this.#probe();
    const pause = 500 * Math.random();
    if (pause < this.retryAt - Date.now()) this.#wait(this.code, this.reason, pause);
  }

  #probe() {
    if (this.#socket.readyState > 1) return this.#lose(1006, "");
    const now = performance.now();
    if (!(now - this.#probedAt < 10_000)) {
      this.#probedAt = now;
      this.#confirm("ping");
    }
    this.#watch();
  }

  /** A hidden tab's timers are late. */
  #watch() {
    const interval = this.greeting.heartbeat_interval_ms || 25_000;
    const due = this.#probedAt ? this.#probedAt + 10_000 : this.#heardAt + interval;
    const left = due - performance.now();
    if (left > 0) this.#after(left, () => this.#watch());
    else if (this.#probedAt) this.#break("silent");
    else this.#probe();
  }

  // What the server says

  #hear(text) {
    this.#heardAt = performance.now();
    this.#probedAt = undefined;
    if (typeof text !== "string") return (this.#heardAt += 5_000); // the next heartbeat may be late
    let data;
    try {
      data = JSON.parse(text);
    } catch {
      // Only text.
    }
    if (this.state !== "open") return this.#open(data);

    // Counted first: a handler may fail.
    this.#received++;
    if (this.#session) {
      if (this.#received - this.#confirmed >= 32) this.#confirm("ack");
      else this.#confirmSoon();
    }
    const type = data?.type;
    // Without `received`, nothing is confirmed.
    if (type === "pong") this.#unconfirmed = this.#unconfirmed.filter(({ number }) => !(number <= data.received));
    if (type === "token_expiring") return this.#renew(data.expires_at);
    if (type === "error" && data.retry_after_ms >= 0) this.#takeBack(data);
    if (!["pong", "connection_established", "authenticated"].includes(type)) this.#emit("message", { text, data });
  }

  #open(greeting) {
    if (greeting?.type !== "connection_established") return this.#break("unexpected first frame");
    const before = this.greeting;
    this.greeting = this.#socket.greeting = greeting;
    this.#changedAt = this.#heardAt;
    this.#why = "connect";

    const { resumed, replay, received } = greeting;
    const unconfirmed = this.#unconfirmed.filter(({ room }) => !room).map(({ text }) => text);
    if (resumed) {
      // An error that takes one back may be replayed.
      this.#queue.push(...this.#unconfirmed.filter(({ number }) => !(number <= received)));
      this.#unconfirmed = this.#unconfirmed.filter(({ number }) => number <= received);
      this.#confirmed = this.#received;
      this.#sent = received;
    } else {
      this.#unconfirmed = [];
      this.#received = this.#confirmed = this.#sent = 0;
      this.#queue = this.#queue.filter(({ room }) => !room);
      for (const room of this.#rooms) this.#queue.push({ id: 0, text: room, room });
    }
    const reason = greeting.resume_error ?? (this.#session === null ? "expired" : "unsupported");
    this.#session = this.#options.resume !== false && greeting.session;

    // Sent before a handler can send.
    this.state = "open";
    this.#flush();
    // From now on, only this token is good.
    if (resumed) this.#confirm();
    this.#watch();
    this.#set("open");
    if (resumed) this.#emit("resumed", { replay });
    else if (before) this.#emit("lost", { reason, unconfirmed });
  }

  async #renew(expiresAt) {
    const socket = this.#socket;
    this.#jwt = undefined;
    this.#emit("expiring", { expiresAt });
    if (!this.#options.getToken || socket !== this.#socket) return;
    const token = await Promise.resolve("expiring").then(this.#options.getToken).catch(() => {});
    if (socket !== this.#socket || !token) return; // asked again after 4401
    socket.jwt = this.#jwt = token;
    this.#put(JSON.stringify({ type: "authenticate", token }));
  }

  #takeBack({ number, code, retry_after_ms: pause }) {
    const message = this.#unconfirmed.find((message) => message.number === number);
    if (!message) return;
    this.#unconfirmed = this.#unconfirmed.filter((other) => other !== message);
    const { room } = message;
    if (room && this.#rooms.has(room) !== (message.text === room)) return; // a later word was taken
    this.#pace = code === "rate_limited" ? pause : 0;
    this.#holdUntil = Math.max(this.#holdUntil, performance.now() + pause);
    this.#enqueue(message);
  }

  // What the server is told

  #change(target, isWanted) {
    if (this.state === "closed") return;
    for (const kind of ["thread", "job"]) {
      if (target[kind] == null) continue;
      const room = JSON.stringify({ type: `join_${kind}`, [`${kind}_id`]: `${target[kind]}` });
      this.#rooms[isWanted ? "add" : "delete"](room);
      this.#queue = this.#queue.filter((message) => message.room !== room);
      this.#enqueue({ text: isWanted ? room : room.replace("join", "leave"), room });
    }
  }

  #enqueue(message) {
    this.#queue.push({ id: ++this.#lastId, ...message });
    this.#flush();
  }

  /** Oldest first, and not so much at once that the server closes. */
  #flush() {
    clearTimeout(this.#queueTimer);
    this.#queue.sort((a, b) => a.id - b.id);
    for (let left = this.#pace ? 1 : 32; this.#queue.length && this.state === "open"; left--) {
      if (!left) this.#holdUntil = performance.now() + (this.#pace || 500);
      const pause = this.#holdUntil - performance.now();
      if (pause > 0) {
        this.#queueTimer = setTimeout(() => {
          // Nothing is taken before an error is confirmed.
          if (!this.#pace && this.#received > this.#confirmed) this.#confirm("ack");
          this.#flush();
        }, pause);
        return;
      }
      const message = this.#queue.shift();
      this.#put(message.text, message);
    }
    if (!this.#queue.length) this.#pace = 0;
  }

  /** Only `message` is sent again. */
  #put(text, message) {
    this.#sent++;
    if (message && this.#session) {
      this.#unconfirmed.push({ ...message, number: this.#sent });
      this.#confirmSoon();
    }
    this.#socket.send(text, this.#sent);
  }

  #confirmSoon() {
    this.#confirmTimer ??= setTimeout(() => {
      this.#confirmTimer = undefined;
      if (this.#unconfirmed.length || this.#received > this.#confirmed) this.#confirm();
    }, 5_000);
  }

  #confirm(type = this.#unconfirmed.length ? "ping" : "ack") {
    this.#confirmed = this.#received;
    this.#put(JSON.stringify({ type, received: this.#session ? this.#received : undefined }));
  }
}
