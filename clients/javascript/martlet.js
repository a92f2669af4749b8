// SPDX-License-Identifier: Apache-2.0

/** Close codes after which another attempt cannot help. */
const FINAL = [1000, 1002, 1003, 1007, 1008, 1009, 4400, 4403, 4409];
/** Breaks a dead socket; the session goes on waiting at the server. */
const DEAD = 4408;
const PATIENCE = 10_000;

/** A session with Martlet, over one WebSocket after another. Types and documentation: martlet.d.ts. */
export class Martlet extends EventTarget {
  state = "connecting";
  code = 0;
  reason = "";
  retryAt = 0;
  greeting;

  #url;
  #getToken;
  #resume;
  #over = new AbortController(); // removes the listeners

  #socket; // the present one; what others still say is ignored
  #attempt; // which call of #connect is the present one
  #timer; // of the state: connect timeout, heartbeat or retry
  #failures = 0;
  #jwt;
  #why = "connect"; // what getToken is told
  #wasRejected = false;
  #openedAt;
  #heardAt;
  #probedAt; // a probe is unanswered since then

  #session; // the token of a resume; undefined without sessions
  #lostAt;
  #isExpired = false;
  #received = 0; // text messages of this session from the server,
  #confirmed = 0; // and how many of them it knows to be here
  #sent = 0; // text messages of this session to the server
  #unconfirmed = []; // messages put on a socket: { id, text, room?, number }
  #confirmTimer;

  #queue = []; // messages not put on a socket, or known to be unhandled, by id
  #lastId = 0;
  #queueTimer;
  #holdUntil = 0;
  #pace = 0; // ms between messages, while the server says that there are too many
  #rooms = new Set(); // wanted rooms, as the text that joins them

  constructor(url, { getToken, threads = [], jobs = [], resume = true, signal } = {}) {
    super();
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#url.hash = "";
    this.#getToken = getToken;
    this.#resume = resume;
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
    const held = this.#queue.filter((message) => !message.room).length;
    if (this.state === "closed" || text === undefined || held >= 100) return false;
    this.#enqueue({ id: ++this.#lastId, text });
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
    const attempt = (this.#attempt = {});
    this.#set("connecting");
    try {
      if (this.#getToken && this.#jwt === undefined) this.#jwt = await this.#ask(this.#why);
      if (attempt !== this.#attempt) return;

      if (this.#session && performance.now() - this.#lostAt >= this.greeting.resume_window_ms) {
        this.#session = undefined;
        this.#isExpired = true;
      }
      const protocols = ["martlet"];
      if (this.#resume) protocols.push(this.#session ? `resume.${this.#session}.${this.#received}` : "resume.new");
      if (this.#jwt) protocols.push(`bearer.${this.#jwt}`);
      const socket = (this.#socket = new WebSocket(this.#url.href, protocols));
      socket.onmessage = ({ data }) => socket === this.#socket && typeof data === "string" && this.#hear(data);
      socket.onclose = ({ code, reason }) => socket === this.#socket && this.#lose(code, reason);
      this.#timer = setTimeout(() => this.#break("no first frame within 10 s"), PATIENCE);
    } catch (error) {
      if (attempt === this.#attempt) this.#lose(0, String(error?.message ?? error));
    }
  }

  /** Asks the application for a token; rejects if that fails, or takes too long. */
  #ask(why) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(Error("getToken did not answer within 10 s")), PATIENCE);
      Promise.resolve(why).then(this.#getToken).finally(() => clearTimeout(timer)).then(resolve, reject);
    });
  }

  #break(reason) {
    this.#socket.close(DEAD);
    this.#lose(DEAD, reason); // the close event of a dead socket may take minutes
  }

  #lose(code, reason) {
    this.#halt();
    const now = performance.now();
    if (this.state === "open") {
      this.#lostAt = now;
      if (now - this.#openedAt >= 5_000) {
        this.#failures = 0;
        this.#wasRejected = false;
      }
    } else this.#jwt = undefined; // perhaps that is why: a browser does not say
    if (FINAL.includes(code) || (code === 4401 && !this.#getToken)) return this.#end(code, reason);

    let exponent = this.#failures;
    if (code === 4401) {
      this.#jwt = undefined;
      this.#why = "rejected";
      if (!this.#wasRejected) exponent = 0;
      this.#wasRejected = true;
    }
    this.#failures++;
    this.#wait(code, reason, Math.min(20_000, 500 * 2 ** exponent) * Math.random());
  }

  #wait(code, reason, pause) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), pause);
    this.#set("waiting", code, reason, Date.now() + pause);
  }

  /** Lets go of the socket, and stops every clock. */
  #halt() {
    this.#socket = this.#attempt = undefined;
    for (const timer of [this.#timer, this.#confirmTimer, this.#queueTimer]) clearTimeout(timer);
    this.#confirmTimer = undefined;
  }

  #end(code, reason) {
    if (this.state === "closed") return;
    this.#socket?.close(1000);
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

  /** A listener that throws harms nobody: EventTarget reports the error. */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // Signs of life

  /** The network or the page may be back. */
  #wake() {
    if (this.state === "open") this.#probe();
    const pause = Math.random() * 500;
    if (pause < this.retryAt - Date.now()) this.#wait(this.code, this.reason, pause);
  }

  #probe() {
    if (this.#socket.readyState > 1) return this.#lose(1006, "");
    const now = performance.now();
    if (!(now - this.#probedAt < PATIENCE)) {
      this.#probedAt = now;
      this.#ping();
    }
    this.#watch();
  }

  /** Judges by the time that has passed: a hidden tab's timers are late. */
  #watch() {
    clearTimeout(this.#timer);
    const isProbing = this.#probedAt !== undefined;
    const due = isProbing ? this.#probedAt + PATIENCE : this.#heardAt + (this.greeting.heartbeat_interval_ms || 25_000);
    const left = due - performance.now();
    if (left > 0) this.#timer = setTimeout(() => this.#watch(), left);
    else if (isProbing) this.#break("silent");
    else this.#probe();
  }

  // What the server says

  #hear(text) {
    this.#heardAt = performance.now();
    this.#probedAt = undefined;
    let data;
    try {
      data = JSON.parse(text);
    } catch {
      // Not JSON: delivered as text.
    }
    if (this.state !== "open") return this.#open(data);

    // Counted before it is handled: a handler that fails must not shift the count.
    this.#received++;
    if (this.#session) {
      if (this.#received - this.#confirmed >= 32) this.#ack();
      else this.#confirmSoon();
    }
    switch (data?.type) {
      case "pong":
        // Without `received`, nothing is confirmed. A replayed pong has an older count, and confirms nothing new.
        this.#unconfirmed = this.#unconfirmed.filter(({ number }) => !(number <= data.received));
      // falls through
      case "connection_established":
      case "authenticated":
        return;
      case "token_expiring":
        return this.#renew(data.expires_at);
      case "error":
        if (data.retry_after_ms >= 0) this.#takeBack(data);
    }
    this.#emit("message", { text, data });
  }

  #open(greeting) {
    if (greeting?.type !== "connection_established") return this.#break("unexpected first frame");
    const isFirst = !this.greeting;
    this.greeting = greeting;
    this.#openedAt = this.#heardAt;
    this.#why = "connect";

    const { resumed, replay, received } = greeting;
    let unconfirmed;
    if (resumed) {
      // What is below stays: an error that gives a message back may be among the replayed ones.
      const isHandled = ({ number }) => number <= received;
      this.#queue.push(...this.#unconfirmed.filter((message) => !isHandled(message)));
      this.#unconfirmed = this.#unconfirmed.filter(isHandled);
      this.#confirmed = this.#received;
      this.#sent = received;
    } else {
      unconfirmed = this.#unconfirmed.filter(({ room }) => !room).map(({ text }) => text);
      this.#unconfirmed = [];
      this.#received = this.#confirmed = this.#sent = 0;
      const joins = [...this.#rooms].map((room) => ({ id: 0, text: room, room }));
      this.#queue = [...joins, ...this.#queue.filter(({ room }) => !room)];
    }
    this.#session = this.#resume ? greeting.session : undefined;
    const reason = greeting.resume_error ?? (this.#isExpired ? "expired" : "unsupported");
    this.#isExpired = false;

    // Everything older is sent before a handler can send.
    this.state = "open";
    this.#flush();
    // Until a message comes from here, the token before is good, too: an attempt that was given up could still use it.
    if (resumed) this.#confirm(this.#unconfirmed.length ? "ping" : "ack");
    this.#watch();
    this.#set("open");
    if (resumed) this.#emit("resumed", { replay });
    else if (!isFirst) this.#emit("lost", { reason, unconfirmed });
  }

  async #renew(expiresAt) {
    const socket = this.#socket;
    this.#jwt = undefined;
    this.#emit("expiring", { expiresAt });
    if (!this.#getToken || socket !== this.#socket) return;
    try {
      const token = await this.#ask("expiring");
      if (socket !== this.#socket || !token) return;
      this.#jwt = token;
      this.#put(JSON.stringify({ type: "authenticate", token }));
    } catch {
      // The server closes with 4401, and then it is asked again.
    }
  }

  /** The server did not take a message, and says when it may. */
  #takeBack({ number, code, retry_after_ms: pause }) {
    const index = this.#unconfirmed.findIndex((message) => message.number === number);
    if (index < 0) return;
    const [message] = this.#unconfirmed.splice(index, 1);
    const { room, text } = message;
    if (room && this.#rooms.has(room) !== (text === room)) return; // a later word was taken
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
      this.#enqueue({ id: ++this.#lastId, text: isWanted ? room : room.replace("join", "leave"), room });
    }
  }

  #enqueue(message) {
    this.#queue.push(message);
    this.#flush();
  }

  /** Sends what waits, oldest first, and not so much at once that the server closes with 4429. */
  #flush() {
    clearTimeout(this.#queueTimer);
    this.#queue.sort((a, b) => a.id - b.id);
    for (let left = this.#pace ? 1 : 32; this.state === "open" && this.#queue.length; left--) {
      const now = performance.now();
      if (!left) this.#holdUntil = now + (this.#pace || 500);
      if (now < this.#holdUntil) {
        this.#queueTimer = setTimeout(() => {
          // After `backend_unavailable`, nothing is taken before its confirmation.
          if (!this.#pace && this.#received > this.#confirmed) this.#ack();
          this.#flush();
        }, this.#holdUntil - now);
        return;
      }
      const message = this.#queue.shift();
      this.#put(message.text, message);
    }
    if (!this.#queue.length) this.#pace = 0;
  }

  /** Every text message has a number, but only `message` is ever sent again. */
  #put(text, message) {
    this.#sent++;
    if (message && this.#session) {
      this.#unconfirmed.push({ ...message, number: this.#sent });
      this.#confirmSoon();
    }
    this.#socket.send(text);
  }

  #confirmSoon() {
    this.#confirmTimer ??= setTimeout(() => {
      this.#confirmTimer = undefined;
      if (this.#unconfirmed.length) this.#ping(); // the pong confirms
      else if (this.#received > this.#confirmed) this.#ack();
    }, 5_000);
  }

  #ack() {
    this.#confirm("ack");
  }

  #ping() {
    this.#confirm("ping");
  }

  #confirm(type) {
    this.#confirmed = this.#received;
    this.#put(JSON.stringify({ type, received: this.#session ? this.#received : undefined }));
  }
}
