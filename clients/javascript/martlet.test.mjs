// SPDX-License-Identifier: Apache-2.0

// The logic of martlet.js, over clocks that the tests script, and a WebSocket that they script, too, or real servers.
// Run: node --test

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { after, beforeEach, test } from "node:test";

/** A WebSocket whose other end is the test. */
class Socket {
  static all = [];
  static get last() {
    return Socket.all.at(-1);
  }

  constructor(url, protocols) {
    if (Socket.failure) throw Socket.failure;
    Object.assign(this, { url, protocols, readyState: 0, sent: [] });
    Socket.all.push(this);
  }

  send(text) {
    assert.equal(typeof text, "string");
    assert.notEqual(this.readyState, 0, "a socket that is not open cannot send");
    if (this.readyState === 1) this.sent.push(text);
  }

  close(code) {
    this.closed = code;
    this.readyState = 2;
  }

  /** The server's side: the first frame, another message, the end. */
  greet(members = {}) {
    this.readyState = 1;
    this.onopen?.({});
    this.say({ type: "connection_established", connection_id: "c", heartbeat_interval_ms: 25_000, resume_window_ms: 120_000, ...members });
    return this;
  }

  say(message) {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  end(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** Takes what the client sent. */
  take() {
    return this.sent.splice(0).map((text) => (text.startsWith("{") ? JSON.parse(text) : text));
  }
}

/** Time that passes only when a test says so. */
class Clock {
  now = 1_000;
  wall = 1_700_000_000_000;
  timers = new Map();
  last = 0;
  reads = 0;

  set = (run, delay = 0) => {
    this.timers.set(++this.last, { run, due: this.now + Math.max(0, delay) });
    return this.last;
  };
  clear = (id) => void this.timers.delete(id);

  async pass(milliseconds) {
    const end = this.now + milliseconds;
    await settled();
    for (;;) {
      const [id, next] = [...this.timers].sort(([, a], [, b]) => a.due - b.due)[0] ?? [];
      if (!next || next.due > end) break;
      this.timers.delete(id);
      this.now = Math.max(this.now, next.due);
      next.run();
      await settled();
    }
    this.now = end;
  }

  /** As in a tab that is frozen: the time passes, and only then the timers fire. */
  jump(milliseconds) {
    this.now += milliseconds;
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const { WebSocket: RealWebSocket, setTimeout: setRealTimeout, clearTimeout: clearRealTimeout } = globalThis;
/** Whether Node's own fetch and WebSocket ask, not what they call: their timers are real. */
const isNetwork = () => Error().stack.split("\n")[3].includes("internal/deps/undici");
let clock, page, window, random, socketClass, isOnLine;

Object.defineProperties(globalThis, {
  WebSocket: { get: () => socketClass },
  setTimeout: { value: (...all) => (isNetwork() ? setRealTimeout(...all) : clock.set(...all)) },
  clearTimeout: { value: (id) => (typeof id === "object" ? clearRealTimeout(id) : clock.clear(id)) },
  location: { value: { href: "https://app.example/page?x=1#y" } },
  document: { get: () => page },
  addEventListener: { value: (...all) => window.addEventListener(...all) },
});
Object.defineProperty(navigator, "onLine", { get: () => isOnLine });
Date.now = () => clock.wall + clock.now;
performance.now = () => (clock.reads++, clock.now);
Math.random = () => random;
const { Martlet } = await import("./martlet.js");

beforeEach(() => {
  clock = new Clock();
  window = new EventTarget();
  page = Object.assign(new EventTarget(), { hidden: false });
  random = 0.5;
  Socket.all = [];
  Socket.failure = undefined;
  socketClass = Socket;
  isOnLine = undefined; // as in Node
});

/** Makes a client that writes down its events. */
function make(options = {}, url = "wss://h/ws") {
  const martlet = new Martlet(url, { sse: false, ...options });
  const seen = [];
  for (const type of ["message", "state", "resumed", "lost", "expiring"]) {
    martlet.addEventListener(type, ({ detail }) => seen.push([type, detail]));
  }
  const details = (type) => seen.filter(([of]) => of === type).map(([, detail]) => detail);
  return { martlet, seen, details, states: () => details("state").map(({ state }) => state) };
}

/** Makes a client in an open session. */
function open(options = {}, greeting = {}) {
  const made = make(options);
  Socket.last.greet({ session: "T1", ...greeting });
  return { ...made, socket: Socket.last };
}

/** Lets the socket break, and the next attempt begin. */
async function reconnect(code = 1006) {
  const before = Socket.all.length;
  Socket.last.end(code);
  for (let i = 0; i < 200 && Socket.all.length === before; i++) await clock.pass(100);
  assert.equal(Socket.all.length, before + 1, "one attempt");
  return Socket.last;
}

const event = (type, members = {}) => Object.assign(new Event(type), members);
const texts = (list) => list.filter((message) => typeof message === "string");

// Handshake

test("it asks for a session, and has no token without getToken", () => {
  make();
  assert.equal(Socket.last.url, "wss://h/ws");
  assert.deepEqual(Socket.last.protocols, ["martlet", "resume.new"]);
});

test("the token of getToken goes into a subprotocol, and into no URL", async () => {
  const asked = [];
  make({ getToken: async (why) => (asked.push(why), "a.b.c") });
  assert.equal(Socket.all.length, 0);
  await clock.pass(0);
  assert.deepEqual(Socket.last.protocols, ["martlet", "resume.new", "bearer.a.b.c"]);
  assert.equal(Socket.last.url, "wss://h/ws");
  assert.deepEqual(asked, ["connect"]);
});

test("an empty token connects without one", async () => {
  make({ getToken: () => "" });
  await clock.pass(0);
  assert.deepEqual(Socket.last.protocols, ["martlet", "resume.new"]);
});

for (const [given, wanted] of [
  ["/ws", "wss://app.example/ws"],
  ["ws?a=1", "wss://app.example/ws?a=1"],
  ["https://h/ws?thread_id=t#there", "wss://h/ws?thread_id=t"],
  ["http://h:8000/ws", "ws://h:8000/ws"],
  ["ws://h/ws", "ws://h/ws"],
  [new URL("wss://h/ws"), "wss://h/ws"],
]) {
  test(`the URL ${given} becomes ${wanted}`, () => {
    make({}, given);
    assert.equal(Socket.last.url, wanted);
  });
}

test("an invalid URL is an error of the caller", () => {
  assert.throws(() => new Martlet("http://"), TypeError);
});

test("it is open when the first frame came, not when the socket is", () => {
  const { martlet, states } = make();
  assert.equal(martlet.state, "connecting");
  Socket.last.readyState = 1;
  Socket.last.onopen?.({});
  assert.equal(martlet.state, "connecting");
  Socket.last.greet({ session: "T1", user_id: "u" });
  assert.equal(martlet.state, "open");
  assert.deepEqual(states(), ["open"]);
  assert.equal(martlet.greeting.user_id, "u");
});

test("without a first frame for 10 s, the attempt is broken, and another begins", async () => {
  const { martlet } = make();
  await clock.pass(9_999);
  assert.equal(Socket.last.closed, undefined);
  await clock.pass(1);
  assert.equal(Socket.all[0].closed, 4408);
  assert.equal(martlet.state, "waiting");
  assert.match(martlet.reason, /first frame/);
  await clock.pass(500);
  assert.equal(Socket.all.length, 2);
});

test("another first frame than Martlet's breaks the attempt", () => {
  for (const text of ["{}", "null", "hello"]) {
    const { martlet, details } = make();
    Socket.last.readyState = 1;
    Socket.last.say(text);
    assert.equal(Socket.last.closed, 4408);
    assert.equal(martlet.state, "waiting");
    assert.deepEqual(details("message"), []);
  }
});

test("a WebSocket that cannot be made is tried again", async () => {
  Socket.failure = new Error("not allowed here");
  const { martlet } = make();
  assert.equal(martlet.state, "waiting");
  assert.equal(martlet.reason, "not allowed here");
  Socket.failure = undefined;
  await clock.pass(500);
  Socket.last.greet({ session: "T1" });
  assert.equal(martlet.state, "open");
});

// Messages

test("messages are delivered with their text and their data", () => {
  const { socket, details } = open();
  socket.say('{ "a":1 }');
  socket.say("no JSON");
  socket.say("null");
  socket.say("[1]");
  assert.deepEqual(details("message"), [
    { text: '{ "a":1 }', data: { a: 1 } },
    { text: "no JSON", data: undefined },
    { text: "null", data: null },
    { text: "[1]", data: [1] },
  ]);
});

test("Martlet's own messages are delivered, except four", () => {
  const { socket, details } = open();
  const own = ["thread_joined", "thread_left", "job_joined", "job_left", "error"];
  for (const type of ["pong", "connection_established", "token_expiring", "authenticated", ...own]) socket.say({ type });
  assert.deepEqual(details("message").map(({ data }) => data.type), own);
});

test("send takes text as it is, and anything else as JSON", () => {
  const { martlet, socket } = open();
  assert.equal(martlet.send("as it is"), true);
  assert.equal(martlet.send({ a: [1] }), true);
  assert.equal(martlet.send(7), true);
  assert.equal(martlet.send(undefined), false);
  assert.deepEqual(socket.sent, ["as it is", '{"a":[1]}', "7"]);
});

test("a listener that throws breaks neither the count nor the socket, and is reported", async () => {
  const script = `
    const sockets = [];
    globalThis.WebSocket = class { constructor(url, protocols) { sockets.push(this); this.protocols = protocols; } send() {} close() {} };
    const errors = [];
    process.on("uncaughtException", (error) => errors.push(error.message));
    const { Martlet } = await import(${JSON.stringify(new URL("./martlet.js", import.meta.url).href)});
    const martlet = new Martlet("ws://h/ws");
    martlet.addEventListener("message", ({ detail }) => { throw Error(detail.text); });
    martlet.addEventListener("state", () => { throw Error("state"); });
    const say = (text) => sockets[0].onmessage({ data: text });
    say('{"type":"connection_established","session":"T","resume_window_ms":120000}');
    say("1"); say("2");
    sockets[0].onclose({ code: 1006, reason: "" });
    while (sockets.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    console.log(JSON.stringify([errors, sockets[1].protocols]));
    process.exit();`;
  const out = await new Promise((resolve, reject) =>
    execFile(process.execPath, ["--input-type=module", "-e", script], (error, stdout) => (error ? reject(error) : resolve(stdout))),
  );
  const [errors, protocols] = JSON.parse(out);
  assert.deepEqual(errors, ["state", "1", "2", "state", "state"]);
  assert.deepEqual(protocols, ["martlet", "resume.T.2"]);
});

// Counting and resuming

test("every text message counts, except the first frame of each socket", async () => {
  const { socket } = open();
  socket.say("x");
  for (const type of ["pong", "error", "thread_joined", "token_expiring", "authenticated", "connection_established"]) socket.say({ type });
  const second = await reconnect();
  assert.deepEqual(second.protocols, ["martlet", "resume.T1.7"]);
  second.greet({ session: "T2", resumed: true, replay: 1, received: 0 });
  second.say("y");
  assert.deepEqual((await reconnect()).protocols, ["martlet", "resume.T2.8"]);
});

test("a session that had no message resumes with 0", async () => {
  open();
  assert.deepEqual((await reconnect()).protocols, ["martlet", "resume.T1.0"]);
});

test("what is not text does not count", async () => {
  const { socket } = open();
  socket.onmessage({ data: new ArrayBuffer(3) });
  assert.deepEqual((await reconnect()).protocols, ["martlet", "resume.T1.0"]);
});

test("the count is raised before the listener runs", async () => {
  const { martlet } = make();
  martlet.addEventListener("message", () => Socket.last.end(1006));
  Socket.last.greet({ session: "T1" });
  Socket.last.say("x");
  await clock.pass(500);
  assert.equal(Socket.last.protocols[1], "resume.T1.1");
});

test("a resume is told, and nothing is lost", async () => {
  const { seen } = open();
  (await reconnect()).greet({ session: "T2", resumed: true, replay: 17, received: 0 });
  assert.deepEqual(seen.slice(-2).map(([type]) => type), ["state", "resumed"]);
  assert.deepEqual(seen.at(-1), ["resumed", { replay: 17 }]);
  assert.ok(!seen.some(([type]) => type === "lost"));
});

test("an attempt to resume that fails is made again, with the same token and count", async () => {
  const { socket } = open();
  socket.say("x");
  assert.equal((await reconnect()).protocols[1], "resume.T1.1");
  assert.equal((await reconnect()).protocols[1], "resume.T1.1");
  Socket.last.greet({ session: "T2", resumed: true, replay: 0, received: 0 });
  assert.equal((await reconnect()).protocols[1], "resume.T2.1");
});

test("what the server did not handle is sent again, in order; pings and acks are not", async () => {
  const { martlet, socket } = open();
  martlet.send("1"); // number 1
  for (let i = 0; i < 32; i++) socket.say("x"); // ack, number 2
  martlet.send("3");
  await clock.pass(5_000); // ping, number 4
  martlet.send("5");
  martlet.send("6");
  assert.deepEqual(socket.sent, ["1", '{"type":"ack","received":32}', "3", '{"type":"ping","received":32}', "5", "6"]);
  const second = await reconnect();
  second.greet({ session: "T2", resumed: true, replay: 0, received: 2 });
  assert.deepEqual(texts(second.take()), ["3", "5", "6"]);
});

test("after a resume, messages are numbered from `received` on", async () => {
  const { martlet } = open();
  for (const text of ["1", "2", "3"]) martlet.send(text);
  const second = await reconnect();
  second.greet({ session: "T2", resumed: true, replay: 0, received: 1 });
  assert.deepEqual(texts(second.take()), ["2", "3"]); // 2 and 3
  martlet.send("5"); // after a ping, 4
  second.say({ type: "pong", received: 2 });
  const third = await reconnect();
  third.greet({ session: "T3", resumed: true, replay: 0, received: 3 });
  assert.deepEqual(texts(third.take()), ["5"]);
});

test("after a resume, what `received` covers is not sent again, even by later resumes", async () => {
  const { martlet } = open();
  martlet.send("1");
  (await reconnect()).greet({ session: "T2", resumed: true, replay: 0, received: 1 });
  assert.deepEqual(texts(Socket.last.take()), []);
  (await reconnect()).greet({ session: "T3", resumed: true, replay: 0, received: 1 });
  assert.deepEqual(texts(Socket.last.take()), []);
});

test("joins that the server did not handle are sent again in a resumed session, and others are not", async () => {
  const { martlet, socket } = open({ threads: ["t"] });
  assert.deepEqual(socket.take(), [{ type: "join_thread", thread_id: "t" }]);
  martlet.join({ job: "j" });
  const second = await reconnect();
  second.greet({ session: "T2", resumed: true, replay: 0, received: 1 });
  assert.deepEqual(second.take()[0], { type: "join_job", job_id: "j" });
  const third = await reconnect();
  third.greet({ session: "T3", resumed: true, replay: 0, received: 3 });
  assert.ok(!third.take().some(({ type }) => type.startsWith("join")));
});

for (const reason of ["expired", "overflow", "unknown", "forbidden", "ahead"]) {
  test(`a resume refused as ${reason} is told, and the new session begins at 0`, async () => {
    const { martlet, socket, details, seen } = open({ threads: ["t"] });
    socket.say("x");
    martlet.send("1");
    martlet.send("2");
    martlet.join({ job: "j" });
    socket.say({ type: "pong", received: 2 }); // the join of t, and "1"
    socket.end();
    martlet.send("held");
    await clock.pass(500);
    const second = Socket.last.greet({ session: "N", resumed: false, resume_error: reason });
    assert.deepEqual(details("lost"), [{ reason, unconfirmed: ["2"] }]);
    assert.deepEqual(seen.slice(-2).map(([type]) => type), ["state", "lost"]);
    assert.deepEqual(second.take(), [{ type: "join_thread", thread_id: "t" }, { type: "join_job", job_id: "j" }, "held"]);
    second.say({ type: "pong", received: 2 });
    second.say("y");
    const third = await reconnect();
    assert.equal(third.protocols[1], "resume.N.2");
    third.greet({ session: "N2", resumed: true, replay: 0, received: 2 });
    assert.deepEqual(texts(third.take()), ["held"], "numbers began at 0, too");
    third.say({ type: "pong", received: 3 });
    (await reconnect()).greet({ session: "M", resumed: false, resume_error: reason });
    assert.deepEqual(details("lost")[1], { reason, unconfirmed: [] });
  });
}

test("what a resume showed to be unhandled is sent in the next session, if that resume came to nothing", async () => {
  const { martlet, details } = open();
  for (let i = 0; i < 40; i++) martlet.send(`${i}`);
  const second = await reconnect();
  second.greet({ session: "T2", resumed: true, replay: 0, received: 0 });
  assert.equal(texts(second.take()).length, 32);
  const third = await reconnect();
  third.greet({ session: "N", resumed: false, resume_error: "unknown" });
  assert.deepEqual(details("lost")[0].unconfirmed.length, 32);
  assert.deepEqual(texts(third.take()), ["32", "33", "34", "35", "36", "37", "38", "39"]);
});

test("a resume is not offered when the window has passed", async () => {
  for (const [away, offer] of [[119_999, "resume.T1.0"], [120_000, "resume.new"]]) {
    const { details, martlet } = open();
    martlet.send("1");
    Socket.last.end();
    clock.jump(away);
    await clock.pass(0);
    assert.equal(Socket.last.protocols[1], offer);
    if (offer !== "resume.new") continue;
    Socket.last.greet({ session: "N" });
    assert.deepEqual(details("lost"), [{ reason: "expired", unconfirmed: ["1"] }]);
    Socket.last.end();
    await clock.pass(500);
    Socket.last.greet({ session: "N2", resumed: false, resume_error: "unknown" });
    assert.equal(details("lost")[1].reason, "unknown");
    (await reconnect()).greet();
    assert.equal(details("lost")[2].reason, "unsupported");
  }
});

test("the window begins when the socket is lost, not when it was opened", async () => {
  const { socket } = open();
  for (let i = 0; i < 10; i++) {
    await clock.pass(20_000);
    socket.say("x");
  }
  assert.equal((await reconnect()).protocols[1], "resume.T1.10");
});

test("the window begins when the socket is lost, not with the last attempt", async () => {
  open();
  Socket.last.end();
  for (let i = 0; i < 11; i++) {
    await clock.pass(10_000);
    while (Socket.last.readyState !== 0) await clock.pass(100);
    Socket.last.end();
  }
  await clock.pass(20_000);
  assert.equal(Socket.last.protocols[1], "resume.new");
});

test("with sessions turned off, it reconnects, joins, counts nothing, and every reconnect says `lost`", async () => {
  const { martlet, details } = make({ jobs: ["j"] });
  Socket.last.greet();
  martlet.send("1");
  for (let i = 0; i < 40; i++) Socket.last.say("x");
  await clock.pass(6_000);
  assert.deepEqual(Socket.last.take(), [{ type: "join_job", job_id: "j" }, "1"]);
  Socket.last.end();
  martlet.send("held");
  await clock.pass(500);
  assert.deepEqual(Socket.last.protocols, ["martlet", "resume.new"]);
  Socket.last.greet();
  assert.deepEqual(details("lost"), [{ reason: "unsupported", unconfirmed: [] }]);
  assert.deepEqual(Socket.last.take(), [{ type: "join_job", job_id: "j" }, "held"]);
  await clock.pass(25_000);
  assert.deepEqual(Socket.last.take(), [{ type: "ping" }]);
  (await reconnect()).greet({ session: "T1" });
  assert.equal(details("lost").length, 2);
});

test("the first session is no loss", () => {
  const { details } = open();
  assert.deepEqual(details("lost"), []);
});

test("with resume: false, no session is asked for or used", async () => {
  const { details } = open({ resume: false });
  assert.deepEqual(Socket.last.protocols, ["martlet"]);
  for (let i = 0; i < 40; i++) Socket.last.say("x");
  assert.deepEqual(Socket.last.sent, []);
  const second = await reconnect();
  assert.deepEqual(second.protocols, ["martlet"]);
  second.greet();
  assert.equal(details("lost")[0].reason, "unsupported");
});

// Confirming

test("every 32 messages are confirmed at once", () => {
  const { socket } = open();
  for (let i = 0; i < 31; i++) socket.say("x");
  assert.deepEqual(socket.take(), []);
  for (let i = 0; i < 33; i++) socket.say("x");
  assert.deepEqual(socket.take(), [{ type: "ack", received: 32 }, { type: "ack", received: 64 }]);
});

test("a message is confirmed 5 s after the first unconfirmed one", async () => {
  const { socket } = open();
  socket.say("x");
  await clock.pass(3_000);
  socket.say("x");
  await clock.pass(1_999);
  assert.deepEqual(socket.take(), []);
  await clock.pass(1);
  assert.deepEqual(socket.take(), [{ type: "ack", received: 2 }]);
  await clock.pass(15_000);
  assert.deepEqual(socket.take(), [], "once");
});

test("it goes on confirming, in this socket and in the next", async () => {
  const { socket } = open();
  for (const received of [1, 2]) {
    socket.say("x");
    await clock.pass(5_000);
    assert.deepEqual(socket.take(), [{ type: "ack", received }]);
  }
  socket.say("x");
  const second = await reconnect();
  second.greet({ session: "T2", resumed: true, replay: 1, received: 2 });
  second.say("x");
  await clock.pass(5_000);
  assert.deepEqual(second.take(), [{ type: "ack", received: 3 }, { type: "ack", received: 4 }]);
});

test("what is confirmed is not confirmed again", async () => {
  const { socket } = open();
  for (let i = 0; i < 32; i++) socket.say("x");
  assert.equal(socket.take().length, 1);
  await clock.pass(20_000);
  assert.deepEqual(socket.take(), []);
});

test("a new session counts what it confirms from 0", async () => {
  const { socket } = open();
  for (let i = 0; i < 40; i++) socket.say("x");
  const second = await reconnect();
  second.greet({ session: "N", resumed: false, resume_error: "unknown" });
  for (let i = 0; i < 32; i++) second.say("x");
  assert.deepEqual(second.take(), [{ type: "ack", received: 32 }]);
});

test("a resume confirms what it names, and at once: until then the token before is good, too", async () => {
  const { socket } = open();
  for (let i = 0; i < 31; i++) socket.say("x");
  const second = await reconnect();
  second.greet({ session: "T2", resumed: true, replay: 0, received: 0 });
  assert.deepEqual(second.take(), [{ type: "ack", received: 31 }]);
  second.say("x");
  assert.deepEqual(second.take(), []);
});

test("messages of the client are confirmed by a ping after 5 s, also under constant traffic", async () => {
  const { martlet, socket } = open();
  martlet.send("1");
  for (let i = 0; i < 50; i++) {
    await clock.pass(100);
    socket.say("x");
  }
  assert.deepEqual(socket.take(), ["1", { type: "ack", received: 32 }, { type: "ping", received: 49 }]);
  socket.say({ type: "pong", received: 3 });
  const second = await reconnect();
  second.greet({ session: "N", resumed: false, resume_error: "unknown" });
});

test("a pong confirms, and an older one takes nothing back", async () => {
  const { martlet, socket, details } = open();
  for (const text of ["1", "2", "3"]) martlet.send(text);
  socket.say({ type: "pong", received: 2 });
  socket.say({ type: "pong", received: 1 });
  socket.say({ type: "pong" });
  (await reconnect()).greet({ session: "N", resumed: false, resume_error: "unknown" });
  assert.deepEqual(details("lost")[0].unconfirmed, ["3"]);
});

// Messages that the server gives back

for (const code of ["rate_limited", "backend_unavailable"]) {
  test(`a message refused as ${code} is sent again after that time, as a new one, and the app hears the error`, async () => {
    const { martlet, socket, details } = open();
    martlet.send("1");
    martlet.send("2");
    socket.take();
    socket.say({ type: "error", code, message: "no", number: 2, retry_after_ms: 1_000 });
    assert.equal(details("message").length, 1);
    await clock.pass(999);
    assert.deepEqual(texts(socket.take()), []);
    await clock.pass(1);
    assert.deepEqual(texts(socket.take()), ["2"]);
    const third = await reconnect();
    third.greet({ session: "T2", resumed: true, replay: 0, received: 2 });
    assert.deepEqual(texts(third.take()), ["2"], "it has a new number");
  });
}

test("what is sent meanwhile waits behind refused messages, and their order holds", async () => {
  const { martlet, socket } = open();
  for (const text of ["1", "2", "3"]) martlet.send(text);
  socket.take();
  const refuse = (number, pause) => socket.say({ type: "error", code: "backend_unavailable", number, retry_after_ms: pause });
  refuse(2, 1_000);
  martlet.send("4");
  refuse(3, 200);
  refuse(1, 200);
  await clock.pass(900);
  assert.deepEqual(texts(socket.take()), []);
  await clock.pass(100);
  // Nothing is taken before the errors are confirmed.
  assert.deepEqual(socket.take(), [{ type: "ack", received: 3 }, "1", "2", "3", "4"]);
});

test("after `rate_limited`, messages go one at a time until none waits", async () => {
  const { martlet, socket } = open();
  for (const text of ["1", "2", "3"]) martlet.send(text);
  socket.take();
  for (const number of [1, 2, 3]) socket.say({ type: "error", code: "rate_limited", number, retry_after_ms: 20 });
  const sent = [];
  for (let i = 0; i < 6; i++) {
    await clock.pass(10);
    sent.push(socket.take());
  }
  assert.deepEqual(sent, [[], ["1"], [], ["2"], [], ["3"]], "and are all that is sent");
  socket.end();
  martlet.send("4");
  martlet.send("5");
  await clock.pass(250);
  Socket.last.greet({ session: "T2", resumed: true, replay: 0, received: 6 });
  assert.deepEqual(texts(Socket.last.take()), ["4", "5"]);
});

test("a join or leave that was refused is sent again, unless a later one was taken", async () => {
  const { martlet, socket } = open({ threads: ["a", "b"] });
  martlet.leave({ thread: "a" });
  martlet.leave({ thread: "c" });
  socket.take();
  for (const number of [1, 2, 3, 4]) socket.say({ type: "error", code: "rate_limited", number, retry_after_ms: 20 });
  await clock.pass(1_000);
  assert.deepEqual(socket.take(), [
    { type: "join_thread", thread_id: "b" },
    { type: "leave_thread", thread_id: "a" },
    { type: "leave_thread", thread_id: "c" },
  ]);
});

test("errors without a number, of pings, or without a time give nothing back", async () => {
  const { martlet, socket } = open();
  martlet.send("1");
  await clock.pass(5_000); // a ping, number 2
  socket.take();
  socket.say({ type: "error", code: "rate_limited", retry_after_ms: 20 });
  socket.say({ type: "error", code: "rate_limited", number: 2, retry_after_ms: 20 });
  socket.say({ type: "error", code: "unsupported_type", number: 1 });
  await clock.pass(4_000);
  assert.deepEqual(socket.take(), []);
});

test("a replayed error gives back a message that `received` covers", async () => {
  const { martlet } = open();
  martlet.send("1");
  const second = await reconnect();
  second.greet({ session: "T2", resumed: true, replay: 2, received: 1 });
  second.say({ type: "pong", received: 0 });
  second.say({ type: "error", code: "rate_limited", number: 1, retry_after_ms: 20 });
  await clock.pass(20);
  assert.deepEqual(texts(second.take()), ["1"]);
});

test("after a resume it asks at once which messages are done", async () => {
  const { martlet, socket, details } = open();
  martlet.send("1");
  socket.say("x");
  const second = await reconnect();
  second.greet({ session: "T2", resumed: true, replay: 0, received: 1 });
  assert.deepEqual(second.take(), [{ type: "ping", received: 1 }]);
  second.say({ type: "pong", received: 2 });
  (await reconnect()).greet({ session: "N", resumed: false, resume_error: "unknown" });
  assert.deepEqual(details("lost")[0].unconfirmed, []);
});

test("a refused message whose time comes while away goes out with the next socket", async () => {
  const { martlet, socket } = open();
  martlet.send("1");
  socket.say({ type: "error", code: "backend_unavailable", number: 1, retry_after_ms: 1_000 });
  martlet.send("2");
  martlet.send("3");
  socket.end();
  await clock.pass(250);
  await clock.pass(2_000);
  Socket.last.greet({ session: "T2", resumed: true, replay: 0, received: 1 });
  assert.deepEqual(texts(Socket.last.take()), ["1", "2", "3"]);
});

test("a refused message is sent in the next session, and is not in doubt", async () => {
  const { martlet, socket, details } = open();
  martlet.send("1");
  socket.say({ type: "error", code: "backend_unavailable", number: 1, retry_after_ms: 1_000 });
  (await reconnect()).greet({ session: "N", resumed: false, resume_error: "unknown" });
  assert.deepEqual(details("lost")[0].unconfirmed, []);
  await clock.pass(1_000);
  assert.deepEqual(texts(Socket.last.take()), ["1"]);
});

// While away

test("100 messages are held while away, then send says no; rooms do not count", async () => {
  const { martlet, socket } = open();
  socket.end();
  martlet.join({ thread: "t" });
  const answers = Array.from({ length: 102 }, (_, i) => martlet.send(`${i}`));
  assert.deepEqual(answers, [...Array(100).fill(true), false, false]);
  martlet.join({ thread: "u" });
  await clock.pass(500);
  Socket.last.greet({ session: "T2", resumed: true, replay: 0, received: 0 });
  await clock.pass(2_000);
  const sent = Socket.last.take();
  assert.deepEqual(texts(sent), Array.from({ length: 100 }, (_, i) => `${i}`));
  assert.deepEqual(sent.filter(({ type }) => type === "join_thread").map((join) => join.thread_id), ["t", "u"]);
  assert.equal(martlet.send("again"), true);
});

test("what was sent before the first frame waits for it", () => {
  const { martlet } = make();
  martlet.send("1");
  Socket.last.readyState = 1;
  martlet.send("2");
  assert.deepEqual(Socket.last.sent, []);
  Socket.last.greet({ session: "T1" });
  assert.deepEqual(Socket.last.take(), ["1", "2"]);
});

test("a backlog goes out in portions of 32, every 500 ms, and newer messages stay behind", async () => {
  const { martlet, socket } = open();
  socket.end();
  for (let i = 0; i < 70; i++) martlet.send(`${i}`);
  await clock.pass(500);
  Socket.last.greet({ session: "T2", resumed: true, replay: 0, received: 0 });
  martlet.send("70");
  assert.equal(texts(Socket.last.take()).length, 32);
  await clock.pass(499);
  assert.equal(texts(Socket.last.take()).length, 0);
  await clock.pass(1);
  assert.equal(texts(Socket.last.take()).length, 32);
  await clock.pass(500);
  assert.deepEqual(texts(Socket.last.take()), ["64", "65", "66", "67", "68", "69", "70"]);
});

test("older messages go before those of listeners", async () => {
  const { martlet, socket } = open();
  martlet.send("1");
  socket.end();
  martlet.send("2");
  for (const type of ["state", "resumed"]) martlet.addEventListener(type, () => martlet.state === "open" && martlet.send(type));
  await clock.pass(500);
  Socket.last.greet({ session: "T2", resumed: true, replay: 0, received: 0 });
  assert.deepEqual(texts(Socket.last.take()), ["1", "2", "state", "resumed"]);
});

// Rooms

test("rooms are joined by messages in every new session, before anything else is sent", async () => {
  const { martlet } = make({ threads: ["a", "b"], jobs: "job" });
  martlet.send("1");
  martlet.join({ thread: "c" });
  martlet.join({ thread: "a" });
  Socket.last.greet({ session: "T1" });
  assert.equal(Socket.last.url, "wss://h/ws");
  const joins = [
    { type: "join_thread", thread_id: "a" },
    { type: "join_thread", thread_id: "b" },
    { type: "join_job", job_id: "job" },
    { type: "join_thread", thread_id: "c" },
  ];
  assert.deepEqual(Socket.last.take(), [...joins, "1"]);
  (await reconnect()).greet({ session: "N", resumed: false, resume_error: "unknown" });
  assert.deepEqual(Socket.last.take(), joins);
});

test("one thread may be given as text", () => {
  const { socket } = open({ threads: "abc" });
  assert.deepEqual(socket.take(), [{ type: "join_thread", thread_id: "abc" }]);
});

test("join and leave speak at once, and a room that was left is not joined again", async () => {
  const { martlet, socket } = open({ threads: ["join"] });
  socket.take();
  martlet.join({ thread: "t", job: 7 });
  martlet.leave({ thread: "join" });
  martlet.leave({ job: "other" });
  assert.deepEqual(socket.take(), [
    { type: "join_thread", thread_id: "t" },
    { type: "join_job", job_id: "7" },
    { type: "leave_thread", thread_id: "join" },
    { type: "leave_job", job_id: "other" },
  ]);
  (await reconnect()).greet({ session: "N", resumed: false, resume_error: "unknown" });
  assert.deepEqual(Socket.last.take(), [
    { type: "join_thread", thread_id: "t" },
    { type: "join_job", job_id: "7" },
  ]);
});

test("while away, only the last word about a room waits; a new session needs no leave", async () => {
  for (const [greeting, wanted] of [
    [{ resumed: true, replay: 0, received: 2 }, [{ type: "leave_thread", thread_id: "a" }, { type: "join_thread", thread_id: "b" }]],
    [{ resumed: false, resume_error: "expired" }, [{ type: "join_thread", thread_id: "b" }]],
  ]) {
    const { martlet, socket } = open({ threads: ["a", "b"] });
    socket.end();
    for (let i = 0; i < 3; i++) {
      martlet.join({ thread: "a" });
      martlet.leave({ thread: "a" });
      martlet.leave({ thread: "b" });
      martlet.join({ thread: "b" });
    }
    await clock.pass(500);
    Socket.last.greet({ session: "T2", ...greeting });
    assert.deepEqual(Socket.last.take().filter(({ type }) => type !== "ping"), wanted);
  }
});

// Tokens

test("a token is kept for the next connection", async () => {
  const asked = [];
  make({ getToken: (why) => (asked.push(why), "A") });
  await clock.pass(0);
  Socket.last.greet({ session: "T1" });
  assert.deepEqual((await reconnect()).protocols, ["martlet", "resume.T1.0", "bearer.A"]);
  assert.deepEqual(asked, ["connect"]);
});

test("an attempt that failed before the first frame asks for another token: a browser does not see 401", async () => {
  const asked = [];
  make({ getToken: (why) => (asked.push(why), `${asked.length}`) });
  await clock.pass(0);
  assert.equal((await reconnect()).protocols.at(-1), "bearer.2");
  assert.deepEqual(asked, ["connect", "connect"]);
});

test("4401 asks for a new token, and resumes with it", async () => {
  const asked = [];
  const { details } = make({ getToken: (why) => (asked.push(why), why) });
  await clock.pass(0);
  Socket.last.greet({ session: "T1" });
  Socket.last.end(4401, "token_expired");
  const [, { state, code, reason }] = details("state");
  assert.deepEqual([state, code, reason], ["waiting", 4401, "token_expired"]);
  await clock.pass(500);
  assert.deepEqual(Socket.last.protocols, ["martlet", "resume.T1.0", "bearer.rejected"]);
  assert.deepEqual(asked, ["connect", "rejected"]);
  Socket.last.greet({ session: "T2", resumed: true, replay: 0, received: 0 });
  await reconnect();
  await reconnect();
  assert.deepEqual(asked, ["connect", "rejected", "connect"]);
});

test("a first 4401 is tried within 500 ms, whatever failed before; a second in a row waits longer", async () => {
  random = 0.999;
  const { martlet } = make({ getToken: () => "A" });
  const lose = async (code) => {
    await settled();
    Socket.last.end(code);
    const pause = martlet.retryAt - Date.now();
    await clock.pass(pause);
    return Math.round(pause / 0.999);
  };
  await clock.pass(0);
  assert.equal(await lose(1006), 500);
  assert.equal(await lose(1006), 1_000);
  assert.equal(await lose(4401), 500);
  assert.equal(await lose(4401), 4_000);
  Socket.last.greet({ session: "T1" });
  assert.equal(await lose(4401), 8_000, "also if it was open for a moment");
  Socket.last.greet({ session: "T1" });
  await clock.pass(5_000);
  assert.equal(await lose(1006), 500);
  assert.equal(await lose(1006), 1_000);
  assert.equal(await lose(4401), 500);
});

test("4401 without getToken is final", () => {
  const { martlet } = open();
  Socket.last.end(4401, "token_missing");
  assert.deepEqual([martlet.state, martlet.code, martlet.reason], ["closed", 4401, "token_missing"]);
});

for (const [what, getToken] of [
  ["throws", () => { throw Error("offline"); }],
  ["rejects", () => Promise.reject(Error("offline"))],
]) {
  test(`getToken that ${what} is asked again after a growing pause`, async () => {
    let calls = 0;
    const { states } = make({ getToken: () => (++calls < 3 ? getToken() : "A") });
    await clock.pass(249);
    assert.equal(calls, 1);
    await clock.pass(1);
    assert.equal(calls, 2);
    await clock.pass(500);
    assert.equal(calls, 3);
    assert.equal(Socket.last.protocols.at(-1), "bearer.A");
    assert.deepEqual(states(), ["waiting", "connecting", "waiting", "connecting"]);
  });
}

test("getToken that hangs is asked again after 10 s and a pause, and its late answer is ignored", async () => {
  const answers = [];
  const { martlet } = make({ getToken: () => new Promise((resolve) => answers.push(resolve)) });
  await clock.pass(9_999);
  assert.equal(martlet.state, "connecting");
  await clock.pass(1);
  assert.deepEqual([martlet.state, martlet.reason], ["waiting", "getToken did not answer within 10 s"]);
  await clock.pass(250);
  answers[0]("A");
  await clock.pass(0);
  assert.equal(Socket.all.length, 0);
  answers[1]("B");
  await clock.pass(0);
  assert.deepEqual(Socket.all.map(({ protocols }) => protocols.at(-1)), ["bearer.B"]);
});

test("a getToken that fails is the reason of the wait", async () => {
  const { martlet } = make({ getToken: () => Promise.reject(Error("offline")) });
  await settled();
  assert.deepEqual([martlet.state, martlet.code, martlet.reason], ["waiting", 0, "offline"]);
  assert.equal(martlet.retryAt, Date.now() + 250);
  assert.equal(Socket.all.length, 0);
});

test("no timer is left of a getToken that answered", async () => {
  make({ getToken: () => "A" });
  await clock.pass(0);
  assert.equal(clock.timers.size, 1, "the connect timeout alone");
});

test("a token that expires is renewed on the open socket", async () => {
  const asked = [];
  const { details, martlet } = make({ getToken: (why) => (asked.push(why), `${asked.length}`) });
  await clock.pass(0);
  Socket.last.greet({ session: "T1" });
  Socket.last.say({ type: "token_expiring", expires_at: "2026-11-23T06:20:00.000Z" });
  await settled();
  assert.deepEqual(details("expiring"), [{ expiresAt: "2026-11-23T06:20:00.000Z" }]);
  assert.deepEqual(Socket.last.take(), [{ type: "authenticate", token: "2" }]);
  assert.deepEqual(asked, ["connect", "expiring"]);
  martlet.send("1");
  const second = await reconnect();
  assert.deepEqual(second.protocols, ["martlet", "resume.T1.1", "bearer.2"], "the next connection has the new token");
  second.greet({ session: "T2", resumed: true, replay: 0, received: 0 });
  assert.deepEqual(texts(second.take()), ["1"]);
});

test("an authenticate is numbered, and not sent again", async () => {
  const { martlet } = make({ getToken: () => "A" });
  await clock.pass(0);
  Socket.last.greet({ session: "T1" });
  Socket.last.say({ type: "token_expiring" });
  await settled();
  martlet.send("2");
  (await reconnect()).greet({ session: "T2", resumed: true, replay: 0, received: 1 });
  assert.deepEqual(texts(Socket.last.take()), ["2"]);
  (await reconnect()).greet({ session: "T3", resumed: true, replay: 0, received: 0 });
  assert.ok(!Socket.last.take().some(({ type }) => type === "authenticate"));
});

test("a renewal whose answer comes after the socket is gone is not sent, and the next connection asks anew", async () => {
  const answers = [];
  make({ getToken: (why) => new Promise((resolve) => answers.push({ why, resolve })) });
  await settled();
  answers[0].resolve("A");
  await settled();
  Socket.last.greet({ session: "T1" });
  Socket.last.say({ type: "token_expiring" });
  await settled();
  Socket.last.end();
  await clock.pass(500);
  answers[2].resolve("C");
  await settled();
  Socket.last.greet({ session: "T2", resumed: true, replay: 0, received: 0 });
  answers[1].resolve("B");
  await settled();
  assert.deepEqual(answers.map(({ why }) => why), ["connect", "expiring", "connect"]);
  assert.deepEqual(Socket.last.take(), [{ type: "ack", received: 1 }]);
  assert.equal((await reconnect()).protocols.at(-1), "bearer.C");
});

test("a renewal that fails or is empty changes nothing", async () => {
  for (const answer of [() => Promise.reject(Error("no")), () => "", undefined]) {
    let calls = 0;
    const { martlet, details } = make(answer && { getToken: () => (calls++ ? answer() : "A") });
    await settled();
    Socket.last.greet({ session: "T1" });
    Socket.last.say({ type: "token_expiring" });
    await settled();
    assert.equal(martlet.state, "open");
    assert.equal(details("expiring").length, 1);
    assert.deepEqual(Socket.last.take(), []);
  }
});

// Close codes and back-off

for (const code of [1000, 1002, 1003, 1007, 1008, 1009, 4400, 4403, 4409]) {
  test(`${code} is final`, async () => {
    const { martlet, details } = open({ getToken: undefined });
    Socket.last.end(code, "because");
    assert.deepEqual(details("state").at(-1), { state: "closed", code, reason: "because", retryAt: 0 });
    assert.deepEqual([martlet.state, martlet.code, martlet.reason], ["closed", code, "because"]);
    assert.equal(martlet.send("1"), false);
    assert.equal(clock.timers.size, 0);
    await clock.pass(60_000);
    assert.equal(Socket.all.length, 1);
  });
}

for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 3000, 4408, 4429, 4508, 4999]) {
  test(`${code} is followed by another attempt`, async () => {
    const { martlet, details } = open();
    Socket.last.end(code, "because");
    assert.deepEqual(details("state").at(-1), { state: "waiting", code, reason: "because", retryAt: Date.now() + 250 });
    await clock.pass(250);
    assert.equal(martlet.state, "connecting");
    assert.deepEqual([martlet.code, martlet.reason, martlet.retryAt], [0, "", 0]);
    assert.equal(Socket.last.protocols[1], "resume.T1.0");
  });
}

test("pauses grow from 500 ms to 20 s, times a random number, and begin anew after 5 s open", async () => {
  const { martlet } = make();
  const lose = async () => {
    Socket.last.end();
    const pause = martlet.retryAt - Date.now();
    await clock.pass(pause);
    return pause;
  };
  random = 1;
  const pauses = [];
  for (let i = 0; i < 8; i++) pauses.push(await lose());
  assert.deepEqual(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
  random = 0.25;
  assert.equal(await lose(), 5_000);
  Socket.last.greet({ session: "T1" });
  await clock.pass(4_999);
  assert.equal(await lose(), 5_000);
  Socket.last.greet({ session: "T1" });
  await clock.pass(5_000);
  assert.equal(await lose(), 125);
});

// Signs of life

test("after a heartbeat's silence it pings, and breaks the socket 10 s later", async () => {
  const { martlet, socket } = open({}, { heartbeat_interval_ms: 7_000 });
  await clock.pass(6_999);
  assert.deepEqual(socket.take(), []);
  await clock.pass(1);
  assert.deepEqual(socket.take(), [{ type: "ping", received: 0 }]);
  await clock.pass(9_999);
  assert.equal(martlet.state, "open");
  await clock.pass(1);
  assert.deepEqual([socket.closed, martlet.state, martlet.code, martlet.reason], [4408, "waiting", 4408, "silent"]);
  assert.deepEqual(socket.take(), [], "one ping");
  await clock.pass(500);
  assert.equal(Socket.last.protocols[1], "resume.T1.0");
});

test("without a heartbeat interval it is 25 s", async () => {
  const { socket } = open({}, { heartbeat_interval_ms: undefined });
  await clock.pass(24_999);
  assert.deepEqual(socket.take(), []);
  await clock.pass(1);
  assert.equal(socket.take().length, 1);
});

test("any message is a sign of life, and puts the ping off", async () => {
  const { martlet, socket } = open();
  await clock.pass(20_000);
  socket.say("x");
  await clock.pass(24_999);
  assert.deepEqual(socket.take(), [{ type: "ack", received: 1 }]);
  await clock.pass(1);
  assert.deepEqual(socket.take(), [{ type: "ping", received: 1 }]);
  await clock.pass(9_000);
  socket.say("x");
  await clock.pass(20_000);
  assert.equal(martlet.state, "open");
});

test("silence is judged by the time that has passed: late timers of a hidden tab change nothing", async () => {
  const { martlet, socket } = open();
  clock.jump(60_000); // the timer fires late, and the socket was silent
  await clock.pass(0);
  assert.deepEqual(socket.take(), [{ type: "ping", received: 0 }]);
  clock.jump(9_000);
  socket.say("x");
  clock.jump(51_000);
  await clock.pass(0);
  assert.equal(martlet.state, "open", "it was not silent after the ping");
});

test("a broken socket's late events are ignored", async () => {
  const { martlet, socket, details, states } = open();
  await clock.pass(35_000);
  assert.equal(martlet.state, "waiting");
  socket.say("late");
  await clock.pass(500);
  const second = Socket.last.greet({ session: "T2", resumed: true, replay: 0, received: 0 });
  const before = states();
  socket.say("later");
  socket.end(1000);
  socket.end(4409);
  assert.deepEqual(details("message"), []);
  assert.deepEqual(states(), before);
  assert.equal(martlet.state, "open");
  second.end();
  await clock.pass(500);
  assert.equal(Socket.last.protocols[1], "resume.T2.0", "and do not count");
});

for (const [what, fire] of [
  ["online", () => window.dispatchEvent(event("online"))],
  ["pageshow from the cache", () => window.dispatchEvent(event("pageshow", { persisted: true }))],
  ["resume", () => page.dispatchEvent(event("resume"))],
  ["becoming visible", () => page.dispatchEvent(event("visibilitychange"))],
]) {
  test(`on ${what} an open socket is probed at once, and broken after 10 s of silence`, async () => {
    const { martlet, socket } = open();
    await clock.pass(20_000);
    fire();
    assert.deepEqual(socket.take(), [{ type: "ping", received: 0 }]);
    await clock.pass(9_999);
    assert.equal(martlet.state, "open");
    await clock.pass(1);
    assert.equal(martlet.state, "waiting");
  });

  test(`on ${what} a waiting client tries within 500 ms`, async () => {
    const { martlet, states } = open();
    random = 1;
    for (let i = 0; i < 6; i++) {
      Socket.last.end();
      if (i < 5) await clock.pass(16_000 / 2 ** (4 - i) - 500);
      if (i < 5) await clock.pass(16_000);
    }
    assert.ok(martlet.retryAt - Date.now() > 10_000);
    random = 0.5;
    fire();
    assert.equal(martlet.retryAt, Date.now() + 250);
    const count = states().length;
    fire();
    assert.equal(states().length, count, "a second event changes nothing");
    const sockets = Socket.all.length;
    await clock.pass(250);
    assert.equal(Socket.all.length, sockets + 1);
    Socket.last.greet({ session: "T2" });
    await clock.pass(24_000);
    assert.equal(Socket.all.length, sockets + 1);
  });
}

test("what is not a wake-up changes nothing", async () => {
  const { martlet, socket } = open();
  page.hidden = true;
  page.dispatchEvent(event("visibilitychange"));
  window.dispatchEvent(event("pageshow", { persisted: false }));
  window.dispatchEvent(event("offline"));
  assert.deepEqual(socket.take(), []);
  assert.equal(martlet.state, "open");
});

test("duplicate events send one ping while its answer is awaited", () => {
  const { socket } = open();
  for (let i = 0; i < 3; i++) window.dispatchEvent(event("online"));
  assert.equal(socket.take().length, 1);
  socket.say({ type: "pong", received: 1 });
  window.dispatchEvent(event("online"));
  assert.equal(socket.take().length, 1);
});

test("a page that was frozen while a probe was out gets another 10 s", async () => {
  const { martlet, socket } = open();
  window.dispatchEvent(event("online"));
  clock.jump(600_000);
  page.dispatchEvent(event("resume"));
  assert.equal(socket.take().length, 2);
  await clock.pass(9_000);
  socket.say("x");
  await clock.pass(9_000);
  assert.equal(martlet.state, "open");
});

test("a socket that was closed while the page slept is given up at once", async () => {
  const { martlet, socket } = open();
  socket.readyState = 3;
  window.dispatchEvent(event("pageshow", { persisted: true }));
  assert.equal(martlet.state, "waiting");
  await clock.pass(500);
  assert.equal(Socket.last.protocols[1], "resume.T1.0");
});

test("events while connecting begin no second attempt", async () => {
  make();
  window.dispatchEvent(event("online"));
  await clock.pass(5_000);
  assert.equal(Socket.all.length, 1);
});

// The end

test("close ends the session with 1000, and everything else", async () => {
  const { martlet, socket, details } = open();
  martlet.send("1");
  socket.say("x");
  martlet.close();
  martlet.close();
  assert.equal(socket.closed, 1000);
  assert.deepEqual(details("state").slice(1), [{ state: "closed", code: 1000, reason: "closed by the application", retryAt: 0 }]);
  assert.equal(clock.timers.size, 0);
  socket.say("late");
  socket.end(1006);
  assert.equal(details("message").length, 1);
  assert.equal(martlet.send("2"), false);
  martlet.join({ thread: "t" });
  window.dispatchEvent(event("online"));
  await clock.pass(60_000);
  assert.equal(martlet.state, "closed");
  assert.equal(Socket.all.length, 1);
  assert.deepEqual(socket.sent, ["1"]);
});

test("a closed client listens to nothing", () => {
  const added = [];
  const listen = window.addEventListener;
  window.addEventListener = page.addEventListener = (type, listener, options) => {
    added.push(options.signal);
    listen.call(window, type, listener, options);
  };
  const signal = { addEventListener: (type, listener, options) => added.push(options.signal) };
  const { martlet } = open({ signal });
  assert.equal(added.length, 5);
  assert.ok(added.every((signal) => !signal.aborted));
  martlet.close();
  assert.ok(added.every((signal) => signal.aborted));
});

test("close while connecting, waiting, or asking for a token", async () => {
  const connecting = make();
  connecting.martlet.close();
  assert.equal(Socket.last.closed, 1000);
  Socket.last.greet({ session: "T1" });
  assert.equal(connecting.martlet.state, "closed");

  const waiting = open();
  waiting.socket.end();
  waiting.martlet.close();

  let answer;
  const asking = make({ getToken: () => new Promise((resolve) => (answer = resolve)) });
  await settled();
  asking.martlet.close();
  const count = Socket.all.length;
  answer("A");
  await clock.pass(60_000);
  assert.equal(Socket.all.length, count);
  assert.equal(asking.martlet.state, "closed");

  const rejecting = make({ getToken: () => Promise.reject(Error("no")) });
  rejecting.martlet.close();
  await clock.pass(60_000);
  assert.deepEqual(rejecting.states(), ["closed"]);
});

test("close in a listener of any state holds", async () => {
  for (const state of ["open", "waiting", "connecting"]) {
    const { martlet } = make();
    martlet.addEventListener("state", () => martlet.state === state && martlet.close());
    Socket.last.greet({ session: "T1" });
    Socket.last.end();
    const count = Socket.all.length;
    await clock.pass(60_000);
    assert.equal(martlet.state, "closed", state);
    assert.equal(Socket.all.length, count, state);
  }
});

test("close in a listener of `expiring` asks for no token", async () => {
  let calls = 0;
  const { martlet } = make({ getToken: () => (calls++, "A") });
  await settled();
  martlet.addEventListener("expiring", () => martlet.close());
  Socket.last.greet({ session: "T1" });
  Socket.last.say({ type: "token_expiring" });
  await settled();
  assert.equal(calls, 1);
});

test("a signal closes, now or from the start", async () => {
  const aborter = new AbortController();
  const { martlet, socket } = open({ signal: aborter.signal });
  aborter.abort();
  assert.equal(martlet.state, "closed");
  assert.equal(socket.closed, 1000);

  let calls = 0;
  const count = Socket.all.length;
  const late = make({ signal: AbortSignal.abort(), getToken: () => calls++ });
  await clock.pass(60_000);
  assert.equal(late.martlet.state, "closed");
  assert.equal(calls, 0);
  assert.equal(Socket.all.length, count);
});

test("it works where there is no page", async () => {
  const kept = page;
  page = undefined;
  open();
  page = kept;
  assert.equal(Socket.all.length, 1);
});

// Everything together: a server that keeps the rules, and a network that does not

/** A small Martlet with one client: counts, keeps, replays, refuses. */
class Server {
  tokens = 0;
  session;
  handled = []; // what the backend got
  published = 0;
  refusing = false;

  /** Answers a handshake. `wire` takes what goes to the client. */
  accept(protocols, wire) {
    this.wire = wire;
    const [, token, count] = protocols[1].split(".");
    const old = this.session;
    const greeting = { type: "connection_established", heartbeat_interval_ms: 25_000, resume_window_ms: 120_000 };
    if (token === "new" || !old?.tokens.includes(token)) {
      this.session = { tokens: [], kept: [], confirmed: 0, received: 0, gate: 0, sent: 0 };
      if (token !== "new") Object.assign(greeting, { resumed: false, resume_error: "unknown" });
    } else {
      this.confirm(+count);
      Object.assign(greeting, { resumed: true, replay: old.kept.length, received: old.received });
    }
    // Two are good: the newest, and the one that the client used last; so an answer that was lost loses nothing.
    this.session.tokens = [token, `T${++this.tokens}`];
    wire(JSON.stringify({ ...greeting, session: this.session.tokens.at(-1) }));
    for (const text of this.session.kept) wire(text);
  }

  confirm(count) {
    assert.ok(count >= this.session.confirmed && count <= this.session.sent, "counts agree");
    this.session.kept.splice(0, count - this.session.confirmed);
    this.session.confirmed = count;
  }

  say(message) {
    const text = JSON.stringify(message);
    this.session.kept.push(text);
    this.session.sent++;
    this.wire?.(text);
  }

  publish() {
    this.say({ published: ++this.published });
  }

  hear(text) {
    const { session } = this;
    const number = ++session.received;
    const message = JSON.parse(text);
    if (message.received !== undefined) this.confirm(message.received);
    if (message.type === "ping") return this.say({ type: "pong", received: session.received });
    if (message.type === "ack") return;
    // As events.md has it: after a refusal, everything is refused until its confirmation covers the error.
    if (this.refusing || session.confirmed < session.gate) {
      this.say({ type: "error", code: "backend_unavailable", number, retry_after_ms: 1_000 });
      session.gate = session.sent;
    } else this.handled.push(message.sent);
  }
}

/** Numbers that look random, and are the same for each seed. */
function chances(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

for (let seed = 1; seed <= 40; seed++) {
  test(`under cuts, stalls and refusals, everything arrives once and in order, both ways (seed ${seed})`, async () => {
    const chance = chances(seed);
    const server = new Server();
    const { martlet, details } = make();
    let toClient = [];
    let served; // the socket that the server has
    let sent = 0;
    const cut = (isSeen) => {
      // Whatever was on its way is lost, from any point on.
      const socket = served;
      for (const text of toClient.splice(0, Math.floor(chance() * (toClient.length + 1)))) socket.say(text);
      const heard = socket.sent.splice(0, Math.floor(chance() * (socket.sent.length + 1)));
      for (const text of heard) server.hear(text);
      toClient = [];
      socket.sent = [];
      server.wire = served = undefined;
      if (isSeen) socket.end();
    };
    const step = (isQuiet) => {
      if (Socket.last !== served && Socket.last.readyState === 0) {
        const socket = (served = Socket.last);
        socket.readyState = 1;
        toClient = [];
        server.accept(socket.protocols, (text) => toClient.push(text));
      } else if (isQuiet || chance() < 0.5) {
        for (const text of toClient.splice(0)) served?.say(text);
        if (served) for (const text of served.sent.splice(0)) server.hear(text);
      } else if (served && chance() < 0.15) cut(chance() < 0.7);
      else if (chance() < 0.1) server.refusing = !server.refusing;
      if (isQuiet) return;
      if (martlet.greeting && chance() < 0.6) server.publish();
      if (chance() < 0.5 && martlet.send({ sent: sent + 1 })) sent++;
    };
    for (let i = 0; i < 400; i++) {
      random = chance();
      step(false);
      await clock.pass(chance() < 0.05 ? 12_000 * chance() : 300 * chance());
    }
    server.refusing = false;
    for (let i = 0; i < 400; i++) {
      step(true);
      await clock.pass(300);
    }
    const upTo = (count) => Array.from({ length: count }, (_, i) => i + 1);
    assert.deepEqual(details("lost"), []);
    assert.ok(details("resumed").length > 3);
    assert.ok(sent > 100 && server.published > 100);
    assert.deepEqual(server.handled, upTo(sent));
    const got = details("message").filter(({ data }) => data.published).map(({ data }) => data.published);
    assert.deepEqual(got, upTo(server.published));
    const kept = server.session.kept.filter((text) => !text.includes("pong"));
    assert.deepEqual(kept, [], "everything is confirmed in the end");
  });
}

// Where no WebSocket gets through: real requests to a real server, which the test answers

/** Waits for what another process, or the network, brings. */
async function until(isSo, what = `${isSo}`) {
  const deadline = process.hrtime.bigint() + 5_000_000_000n;
  for (;;) {
    const value = isSo();
    if (value) return value;
    assert.ok(process.hrtime.bigint() < deadline, `not within 5 s: ${what}`);
    await settled();
  }
}

/** The event of a text. */
const lines = (text) => `data: ${text.replaceAll("\n", "\ndata: ")}\n\n`;

/** One request that a test answers. */
class Call {
  isOver = false; // the client or the test has ended it

  constructor(request, response, body) {
    Object.assign(this, { request, response, body });
    response.on("close", () => (this.isOver = true));
  }

  /** Answers with JSON. */
  answer(status, value, fields = {}) {
    this.response.writeHead(status, { "Content-Type": "application/json", ...fields }).end(JSON.stringify(value));
  }

  /** Begins a stream. */
  begin(greeting = {}) {
    this.response.writeHead(200, { "Content-Type": "text/event-stream" }).flushHeaders();
    this.say({ type: "connection_established", heartbeat_interval_ms: 25_000, resume_window_ms: 120_000, ...greeting });
    return this;
  }

  say(message) {
    const text = typeof message === "string" ? message : JSON.stringify(message);
    this.write(lines(text));
  }

  write(bytes) {
    this.response.write(bytes);
  }

  end(code, reason) {
    this.response.end(code ? `event: close\ndata: ${JSON.stringify({ code, reason })}\n\n` : undefined);
  }

  get messages() {
    return this.body.split("\n").map((text) => (text.startsWith("{") ? JSON.parse(text) : text));
  }
}

/** A real server of a network that lets no WebSocket through. */
class Host {
  static all = [];
  calls = [];
  refused = 0;

  static async start() {
    const host = new Host();
    host.server = createServer(async (request, response) => {
      let body = "";
      for await (const part of request.setEncoding("utf8")) body += part;
      host.take(new Call(request, response, body));
    });
    host.server.on("upgrade", (request, socket) => host.upgrade(request, socket));
    await new Promise((resolve) => host.server.listen(0, "127.0.0.1", resolve));
    host.url = `ws://127.0.0.1:${host.server.address().port}`;
    Host.all.push(host);
    return host;
  }

  take(call) {
    this.calls.push(call);
  }

  upgrade(request, socket) {
    this.refused++;
    socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  }

  /** The next request, which must be of this method. */
  async next(method) {
    const call = await until(() => this.calls.shift(), method);
    assert.equal(call.request.method, method);
    return call;
  }
}

after(() => {
  for (const { server } of Host.all) {
    server.closeAllConnections();
    server.close();
  }
});

/** Lets a client that waits, or will, try again. */
async function retry(martlet) {
  await until(() => martlet.state === "waiting");
  await clock.pass(martlet.retryAt - Date.now());
}

/** Makes a client of a host, and lets its WebSockets fail. */
async function fallBack(options = {}, path = "/ws", host) {
  host ??= await Host.start();
  socketClass = RealWebSocket;
  const made = make({ sse: true, ...options }, host.url + path);
  await retry(made.martlet);
  await retry(made.martlet);
  return { ...made, host };
}

/** Makes a client that has an open stream. */
async function openStream(options = {}, greeting = { session: "T1" }) {
  const made = await fallBack(options);
  const stream = (await made.host.next("GET")).begin(greeting);
  await until(() => made.martlet.state === "open");
  return { ...made, stream };
}

/** Breaks a stream, and lets the WebSocket that follows fail, and then the next stream begin. */
async function restream({ martlet, host, stream }, greeting) {
  stream.end();
  await retry(martlet);
  await retry(martlet);
  const next = await host.next("GET");
  if (greeting) {
    next.begin(greeting);
    await until(() => martlet.state === "open");
  }
  return next;
}

test("after two WebSockets without a first frame, it reads server-sent events", async () => {
  const host = await Host.start();
  socketClass = RealWebSocket;
  const { martlet, states, details } = make({ sse: true }, `${host.url}/ws`);
  assert.equal(martlet.transport, "websocket");
  await retry(martlet);
  assert.equal(martlet.transport, "websocket");
  await until(() => martlet.state === "waiting");
  assert.deepEqual([host.refused, host.calls.length, martlet.code], [2, 0, 1006]);
  await retry(martlet);
  assert.equal(martlet.transport, "sse");
  const stream = await host.next("GET");
  assert.equal(stream.request.url, "/sse");
  assert.equal(stream.request.headers["martlet-resume"], "new");
  assert.equal(stream.request.headers.authorization, undefined);
  stream.response.writeHead(200, { "Content-Type": "text/event-stream" }).flushHeaders();
  for (let i = 0; i < 50; i++) await settled();
  assert.equal(martlet.state, "connecting", "until the first event");
  stream.begin = undefined;
  stream.say({ type: "connection_established", user_id: "u", session: "T1" });
  await until(() => martlet.state === "open");
  assert.equal(martlet.greeting.user_id, "u");
  stream.say({ a: 1 });
  await until(() => details("message").length);
  assert.deepEqual(details("message"), [{ text: '{"a":1}', data: { a: 1 } }]);
  assert.deepEqual(states(), ["waiting", "connecting", "waiting", "connecting", "open"]);
  assert.equal(host.refused, 2);
});

for (const [path, wanted] of [
  ["/ws?user=a", "/sse?user=a"],
  ["/push/ws", "/push/sse"],
  ["/a/b?x=1&y=/ws#there", "/a/sse?x=1&y=/ws"],
  ["", "/sse"],
]) {
  test(`beside ${path || "nothing"}, the stream is at ${wanted}, and so is what is posted`, async () => {
    const { martlet, host } = await fallBack({}, path);
    const stream = await host.next("GET");
    assert.equal(stream.request.url, wanted);
    stream.begin({ session: "T1" });
    martlet.send("1");
    assert.equal((await host.next("POST")).request.url, wanted);
  });
}

test("a token goes into a header field, and into no URL", async () => {
  const { martlet, host } = await fallBack({ getToken: () => "a.b.c" }, "/ws?user=u");
  const stream = await host.next("GET");
  stream.begin({ session: "T1" });
  martlet.send("1");
  const post = await host.next("POST");
  post.answer(200, { received: 1 });
  martlet.close();
  for (const { request } of [stream, post, await host.next("DELETE")]) {
    assert.equal(request.headers.authorization, "Bearer a.b.c");
    assert.equal(request.url, "/sse?user=u");
    assert.equal(request.headers["cache-control"], "no-cache", "as fetch says for no-store");
  }
});

/** A client whose WebSockets are scripted, and whether it has asked for a stream by now. */
async function scripted(options = {}) {
  const host = await Host.start();
  const made = make({ sse: true, ...options }, `${host.url}/ws`);
  await settled();
  return { ...made, host };
}

test("a WebSocket that has no first frame for 10 s counts as failed", async () => {
  const { martlet, host } = await scripted();
  await clock.pass(10_000);
  await retry(martlet);
  await clock.pass(10_000);
  assert.equal(Socket.all.length, 2);
  await host.next("GET"); // at once: two attempts have taken long enough
});

for (const code of [4429, 1013, 4401]) {
  test(`a refusal that the server has told (${code}) got through: then it is two more`, async () => {
    const { martlet, host } = await scripted({ getToken: () => "A" });
    for (const [index, end] of [code, code, 1006, code, 1006, 1006].entries()) {
      assert.deepEqual([Socket.all.length, host.calls.length], [index + 1, 0]);
      Socket.last.end(end);
      await retry(martlet);
      await settled();
    }
    await host.next("GET");
    assert.equal(Socket.all.length, 6);
  });
}

test("a WebSocket that was open got through: then it is two more", async () => {
  const { martlet, host } = await scripted();
  Socket.last.end();
  await retry(martlet);
  Socket.last.greet({ session: "T1" }).end();
  await retry(martlet);
  Socket.last.end();
  await retry(martlet);
  assert.deepEqual([Socket.all.length, host.calls.length], [4, 0]);
  Socket.last.end();
  await retry(martlet);
  assert.equal((await host.next("GET")).request.headers["martlet-resume"], "T1 0");
});

test("while the browser knows that it is offline, failures say nothing about WebSockets", async () => {
  const { martlet, host } = await scripted();
  isOnLine = false;
  for (let i = 0; i < 4; i++) {
    Socket.last.end();
    await retry(martlet);
  }
  isOnLine = true;
  Socket.last.end();
  await retry(martlet);
  assert.deepEqual([Socket.all.length, host.calls.length], [6, 0]);
  Socket.last.end();
  await retry(martlet);
  await host.next("GET");
});

test("a getToken that fails in between changes nothing", async () => {
  let calls = 0;
  const { martlet, host } = await scripted({ getToken: () => (++calls === 2 ? Promise.reject(Error("no")) : "A") });
  Socket.last.end();
  await retry(martlet);
  await retry(martlet);
  assert.equal(Socket.all.length, 2);
  Socket.last.end();
  await retry(martlet);
  await host.next("GET");
});

test("with sse: false, and where streams cannot be read, there are WebSockets only", async () => {
  const streams = Object.getOwnPropertyDescriptor(globalThis, "TextDecoderStream");
  for (const sse of [false, true]) {
    if (sse) Object.defineProperty(globalThis, "TextDecoderStream", { value: undefined, configurable: true });
    Socket.all = [];
    const { martlet, host } = await scripted({ sse });
    for (let i = 0; i < 5; i++) {
      Socket.last.end();
      await retry(martlet);
    }
    assert.deepEqual([Socket.all.length, host.calls.length, martlet.transport], [6, 0, "websocket"]);
  }
  Object.defineProperty(globalThis, "TextDecoderStream", streams);
});

test("after a stream that was open, one WebSocket is tried; after one that was not, two", async () => {
  const made = await openStream();
  const { martlet, host, stream } = made;
  stream.end();
  await retry(martlet);
  assert.equal(martlet.transport, "websocket");
  await retry(martlet);
  assert.deepEqual([host.refused, martlet.transport], [3, "sse"]);
  (await host.next("GET")).response.destroy();
  await retry(martlet);
  assert.deepEqual([host.refused, martlet.transport, martlet.state], [3, "websocket", "connecting"]);
  await retry(martlet);
  assert.equal(martlet.transport, "websocket");
  await retry(martlet);
  assert.deepEqual([host.refused, martlet.transport], [5, "sse"]);
  (await host.next("GET")).begin({ session: "T2", resumed: true, replay: 0, received: 0 });
  await until(() => martlet.state === "open");
});

test("a stream without a first event for 10 s is broken", async () => {
  const { martlet, host } = await fallBack();
  const stream = await host.next("GET");
  await clock.pass(10_000);
  assert.deepEqual([martlet.state, martlet.code], ["waiting", 4408]);
  await until(() => stream.isOver);
});

// What it reads

test("events may come in pieces, of bytes even, and of several lines", async () => {
  const { details, stream } = await openStream();
  const texts = ["a", "ü€😀", '{"a":\n1}', "", " x ", "data: y", "\n\n", "\u2028z\u2029", ": no comment", "event: close"];
  const all = texts.map(lines).join(":\n\n: comment\n\n");
  for (const byte of Buffer.from(`${all}data:b\ndata:\ndata:  c\n\n`)) {
    stream.write(Buffer.of(byte));
    await settled();
  }
  await until(() => details("message").length > texts.length);
  assert.deepEqual(details("message").map(({ text }) => text), [...texts, "b\n\n c"]);
  assert.deepEqual(details("message")[2].data, { a: 1 });
});

test("many events may come in one piece", async () => {
  const { details, stream } = await openStream();
  const texts = Array.from({ length: 5_000 }, (_, i) => `${i}`);
  stream.write(texts.map(lines).join(""));
  await until(() => details("message").length === texts.length);
  assert.deepEqual(details("message").map(({ text }) => text), texts);
});

test("every message counts, comments do not, and the next attempt says how many there were", async () => {
  const made = await openStream();
  made.stream.say("x");
  made.stream.write(":\n\n");
  made.stream.say({ type: "pong" });
  await until(() => made.details("message").length);
  made.stream.end();
  await until(() => made.martlet.state === "waiting");
  const stream = await restream(made);
  assert.equal(stream.request.headers["martlet-resume"], "T1 2");
});

test("a comment is a sign of life, and the next may be a little late", async () => {
  const { martlet, host, stream } = await openStream();
  const comment = async () => {
    const { reads } = clock;
    stream.write(":\n\n");
    await until(() => clock.reads > reads); // it looks at the clock when it hears something
  };
  await clock.pass(24_000);
  for (let i = 0; i < 3; i++) {
    await comment();
    await clock.pass(29_999);
    assert.deepEqual([host.calls.length, martlet.state], [0, "open"]);
  }
  await clock.pass(1);
  assert.deepEqual((await host.next("POST")).messages, [{ type: "ping", received: 0 }]);
  await clock.pass(9_000);
  await comment();
  await clock.pass(29_999);
  assert.deepEqual([host.calls.length, martlet.state], [0, "open"], "it answers the ping, too");
  await clock.pass(1);
  await clock.pass(10_000);
  assert.equal(martlet.reason, "silent");
});

test("a silent stream is pinged, broken after 10 s, and resumed", async () => {
  const { martlet, host, stream } = await openStream();
  await clock.pass(25_000);
  (await host.next("POST")).answer(200, { received: 1 });
  await clock.pass(10_000);
  assert.deepEqual([martlet.state, martlet.code, martlet.reason], ["waiting", 4408, "silent"]);
  await until(() => stream.isOver);
  await retry(martlet);
  await retry(martlet);
  assert.equal((await host.next("GET")).request.headers["martlet-resume"], "T1 0", "nothing has ended the session");
});

for (const [code, state] of [[1000, "closed"], [1001, "waiting"], [4401, "waiting"], [4409, "closed"], [4508, "waiting"]]) {
  test(`the event \`close\` with ${code} is what a close frame is`, async () => {
    const asked = [];
    const { martlet, stream } = await openStream({ getToken: (why) => (asked.push(why), "A") });
    stream.say("x");
    stream.end(code, "so it is");
    await until(() => martlet.state !== "open");
    assert.deepEqual([martlet.state, martlet.code, martlet.reason], [state, code, "so it is"]);
    if (state === "waiting") await retry(martlet);
    assert.equal(asked.at(-1), code === 4401 ? "rejected" : "connect");
  });
}

test("a stream that just ends, or breaks, has ended with 1006", async () => {
  for (const end of [(stream) => stream.end(), (stream) => stream.response.destroy()]) {
    const { martlet, stream } = await openStream();
    end(stream);
    await until(() => martlet.state === "waiting");
    assert.equal(martlet.code, 1006);
  }
});

for (const [status, code, state] of [
  [400, 4400, "closed"],
  [401, 4401, "waiting"],
  [403, 4403, "closed"],
  [404, 4404, "waiting"],
  [429, 4429, "waiting"],
  [500, 1006, "waiting"],
  [503, 1013, "waiting"],
]) {
  test(`a stream that is refused with ${status} has ended with ${code}`, async () => {
    const { martlet, host } = await fallBack({ getToken: () => "A" });
    (await host.next("GET")).answer(status, { status, code: "why", detail: "the reason" });
    await until(() => martlet.state !== "connecting");
    assert.deepEqual([martlet.state, martlet.code], [state, code]);
    assert.equal(martlet.reason, "the reason");
  });
}

test("401 without getToken is final, and 401 with it asks for another token", async () => {
  for (const getToken of [undefined, (why) => why]) {
    const { martlet, host } = await fallBack({ getToken });
    (await host.next("GET")).answer(401, { status: 401, code: "token_expired", detail: "expired" });
    await until(() => martlet.state !== "connecting");
    assert.deepEqual([martlet.state, martlet.code, martlet.reason], [getToken ? "waiting" : "closed", 4401, "expired"]);
    if (!getToken) continue;
    await retry(martlet);
    await retry(martlet);
    await retry(martlet);
    assert.equal((await host.next("GET")).request.headers.authorization, "Bearer rejected");
  }
});

test("an answer that is not Martlet's is never final: some proxy gave it", async () => {
  for (const [status, body] of [[403, "<html>no</html>"], [400, '{"message":"no"}'], [503, "busy"], [200, "<html>\n\nhello</html>"]]) {
    const { martlet, host } = await fallBack();
    (await host.next("GET")).response.writeHead(status).end(body);
    await until(() => martlet.state === "waiting");
    assert.equal(martlet.code, 1006);
  }
});

// What it posts

test("what is sent at once is posted together; what is sent meanwhile goes with the next", async () => {
  const { martlet, host } = await openStream({ threads: ["t"] });
  const join = await host.next("POST");
  assert.equal(join.request.headers["martlet-session"], "T1 1");
  assert.deepEqual(join.messages, [{ type: "join_thread", thread_id: "t" }]);
  for (const text of ["2", "3", "4"]) martlet.send(text);
  await settled();
  martlet.send({ five: 5 });
  for (let i = 0; i < 50; i++) await settled();
  assert.equal(host.calls.length, 0, "one at a time");
  join.answer(200, { received: 1 });
  const second = await host.next("POST");
  assert.equal(second.request.headers["martlet-session"], "T1 2");
  assert.deepEqual(second.messages, ["2", "3", "4", { five: 5 }]);
  second.answer(200, { received: 5 });
  for (let i = 0; i < 50; i++) await settled();
  assert.equal(host.calls.length, 0, "nothing is left");
  martlet.send("6");
  const third = await host.next("POST");
  assert.equal(third.request.headers["martlet-session"], "T1 6");
  assert.equal(third.body, "6");
});

test("a line break in a message is no end of it, and an empty message is one", async () => {
  const { martlet, host } = await openStream();
  for (const text of ['{\r\n"a":\n\n1}', "", "\n", "b"]) martlet.send(text);
  assert.equal((await host.next("POST")).body, '{ "a": 1}\n \n \nb');
});

test("a body has at most 64 messages", async () => {
  const { martlet, host } = await openStream();
  for (let i = 0; i < 150; i++) martlet.send(`${i}`);
  for (const received of [64, 128, 150]) {
    const post = await host.next("POST");
    assert.equal(post.messages[0], `${received === 150 ? 128 : received - 64}`);
    assert.equal(post.messages.at(-1), `${received - 1}`);
    post.answer(200, { received });
  }
});

test("a body has at most 60,000 bytes, or one message", async () => {
  const { martlet, host } = await openStream();
  const texts = ["€".repeat(19_000), "a", "b".repeat(10_000), "c".repeat(70_000), "d", "e".repeat(19_999), "f"];
  for (const text of texts) martlet.send(text);
  const wanted = [2, 1, 1, 2, 1];
  for (let received = 0; wanted.length; ) {
    const post = await host.next("POST");
    assert.equal(post.request.headers["martlet-session"], `T1 ${received + 1}`);
    const count = wanted.shift();
    assert.deepEqual(post.body.split("\n"), texts.slice(received, received + count));
    assert.ok(post.body.length === 70_000 || Buffer.byteLength(post.body) <= 60_000);
    post.answer(200, { received: (received += count) });
  }
});

for (const [status, fields, pause] of [[503, { "Retry-After": "7" }, 7_000], [429, {}, 1_000], [429, { "Retry-After": "soon" }, 1_000]]) {
  test(`what was answered with ${status} and ${JSON.stringify(fields)} is posted again after ${pause} ms`, async () => {
    const { martlet, host } = await openStream();
    martlet.send("1");
    for (let i = 0; i < 2; i++) {
      const timers = clock.last;
      (await host.next("POST")).answer(status, { status, code: "busy", detail: "later" }, fields);
      await until(() => [...clock.timers].some(([id, { due }]) => id > timers && due === clock.now + pause));
      martlet.send("2");
      await clock.pass(pause - 1);
      assert.equal(host.calls.length, 0);
      await clock.pass(1);
      martlet.send("3");
    }
    const post = await host.next("POST");
    assert.equal(post.request.headers["martlet-session"], "T1 1");
    assert.deepEqual(post.messages.filter((text) => typeof text === "string"), ["1", "2", "3", "2"]);
    assert.equal(martlet.state, "open");
  });
}

test("what the server has not handled of a body is posted again, and what it has is not", async () => {
  const { martlet, host } = await openStream();
  for (const text of ["1", "2", "3"]) martlet.send(text);
  (await host.next("POST")).answer(200, { received: 2 });
  const second = await host.next("POST");
  assert.deepEqual([second.request.headers["martlet-session"], second.body], ["T1 3", "3"]);
  second.answer(200, { received: 2 });
  await until(() => [...clock.timers.values()].some(({ due }) => due === clock.now + 1_000));
  assert.equal(host.calls.length, 0, "not at once, if it has handled nothing");
  await clock.pass(1_000);
  const third = await host.next("POST");
  assert.deepEqual([third.request.headers["martlet-session"], third.body], ["T1 3", "3"]);
});

for (const [what, fail] of [
  ["404", (post) => post.answer(404, { status: 404, code: "unknown_session", detail: "no" })],
  ["409", (post) => post.answer(409, { status: 409, code: "not_open", detail: "no" })],
  ["a proxy's page", (post) => post.response.end("<html></html>")],
  ["no answer", (post) => post.response.destroy()],
]) {
  test(`${what} to a post breaks the stream; the resume tells what to send again, with its new number`, async () => {
    const made = await openStream();
    const { martlet, host, stream, details } = made;
    for (const text of ["1", "2", "3"]) martlet.send(text);
    fail(await host.next("POST"));
    await until(() => stream.isOver);
    assert.deepEqual([martlet.state, martlet.code], ["waiting", 1006]);
    martlet.send("4");
    const next = await restream(made);
    assert.equal(host.calls.length, 0, "nothing is posted for the stream that is gone");
    assert.equal(next.request.headers["martlet-resume"], "T1 0");
    next.begin({ session: "T2", resumed: true, replay: 0, received: 1 });
    const post = await host.next("POST");
    assert.equal(post.request.headers["martlet-session"], "T2 2");
    assert.deepEqual(post.messages, ["2", "3", "4", { type: "ping", received: 0 }]);
    assert.deepEqual(details("lost"), []);
  });
}

test("a message that is too large to be posted is final, as over a WebSocket", async () => {
  const { martlet, host, stream } = await openStream();
  martlet.send("1");
  (await host.next("POST")).answer(413, { status: 413, code: "body_too_large", detail: "no" });
  await until(() => stream.isOver);
  assert.deepEqual([martlet.state, martlet.code, martlet.reason], ["closed", 1009, "posting: 413"]);
});

test("a post that has no answer for a minute breaks the stream", async (context) => {
  const stop = new AbortController();
  const timeout = context.mock.method(AbortSignal, "timeout", () => stop.signal);
  const { martlet, host, stream } = await openStream();
  martlet.send("1");
  await host.next("POST");
  assert.deepEqual(timeout.mock.calls.map((call) => call.arguments), [[60_000]]);
  stop.abort(Error("too late"));
  await until(() => stream.isOver && martlet.state === "waiting");
  assert.equal(martlet.reason, "too late");
});

test("an answer or a pause that outlives its stream posts nothing more", async () => {
  for (const status of [200, 503]) {
    const made = await openStream();
    const { martlet, host } = made;
    martlet.send("1");
    const post = await host.next("POST");
    martlet.send("2");
    if (status === 503) post.answer(503, {}, { "Retry-After": "0" });
    const next = await restream(made, { session: "T2", resumed: true, replay: 0, received: 1 });
    if (status === 200) post.answer(200, { received: 1 });
    await clock.pass(1_000);
    const again = await host.next("POST");
    assert.equal(again.request.headers["martlet-session"], "T2 2");
    assert.deepEqual(again.messages, ["2", { type: "ping", received: 0 }]);
    for (let i = 0; i < 50; i++) await settled();
    assert.deepEqual([host.calls.length, next.isOver], [0, false]);
  }
});

test("a new token goes with its own message, and until it is there the old one is used", async () => {
  let answer;
  const getToken = (why) => (why === "expiring" ? new Promise((resolve) => (answer = resolve)) : "A");
  const { martlet, host, stream } = await openStream({ getToken });
  stream.say({ type: "token_expiring" });
  await until(() => answer);
  martlet.send("1");
  const first = await host.next("POST");
  assert.equal(first.request.headers.authorization, "Bearer A");
  first.answer(200, { received: 1 });
  answer("B");
  const second = await host.next("POST");
  assert.equal(second.request.headers.authorization, "Bearer B");
  assert.deepEqual(second.messages, [{ type: "authenticate", token: "B" }]);
});

// The end of a stream

test("close posts what was sent, ends the session, and then the stream", async () => {
  const { martlet, host, stream } = await openStream();
  martlet.send("1");
  martlet.close();
  assert.equal(martlet.state, "closed");
  const post = await host.next("POST");
  assert.equal(post.body, "1");
  assert.deepEqual([stream.isOver, host.calls.length], [false, 0]);
  post.answer(200, { received: 1 });
  const end = await host.next("DELETE");
  assert.equal(end.request.headers["martlet-session"], "T1 0");
  end.response.destroy(); // an error is ignored
  await until(() => stream.isOver);
});

test("close without anything to post ends at once, and a connecting stream, too", async () => {
  const { martlet, host, stream } = await openStream();
  martlet.close();
  (await host.next("DELETE")).answer(204);
  await until(() => stream.isOver);

  const connecting = await fallBack();
  const call = await connecting.host.next("GET");
  connecting.martlet.close();
  await until(() => call.isOver);
  assert.equal(connecting.host.calls.length, 0);
  assert.equal(connecting.martlet.state, "closed");
});

test("with a server that has no sessions, a stream can be read, but nothing is sent", async () => {
  const made = await openStream({ threads: ["t"] }, {});
  const { martlet, host, stream, details } = made;
  assert.equal(martlet.send("1"), true);
  stream.say("x");
  await until(() => details("message").length);
  await clock.pass(34_000);
  assert.deepEqual([martlet.state, host.calls.length], ["open", 0]);
  const next = await restream(made, {});
  assert.equal(next.request.headers["martlet-resume"], "new");
  assert.deepEqual(details("lost"), [{ reason: "unsupported", unconfirmed: [] }]);
  martlet.close();
  await until(() => next.isOver);
  assert.equal(host.calls.length, 0);
});

test("with resume: false, a stream asks for a session, which it needs to send, but does not resume it", async () => {
  const made = await openStream({ resume: false });
  const { martlet, host, stream, details } = made;
  assert.equal(stream.request.headers["martlet-resume"], "new");
  martlet.send("1");
  const post = await host.next("POST");
  assert.deepEqual([post.request.headers["martlet-session"], post.body], ["T1 1", "1"]);
  post.answer(200, { received: 1 });
  const next = await restream(made, { session: "N" });
  assert.equal(next.request.headers["martlet-resume"], "new");
  assert.deepEqual(details("lost"), [{ reason: "unsupported", unconfirmed: [] }]);
  martlet.close();
  assert.equal((await host.next("DELETE")).request.headers["martlet-session"], "N 0");
});

// Both ways, from one to the other and back

/** A real server that keeps all the rules, for one client; the network lets WebSockets through, or not. */
class Site extends Host {
  static async start() {
    const site = Object.setPrototypeOf(await Host.start(), Site.prototype);
    return Object.assign(site, { martlet: new Server(), blocks: false, requests: [] });
  }

  /** What the network still does to posts: `refuse`, `lose` (the answer), `halve`. */
  trouble = undefined;

  take(call) {
    const { method, headers } = call.request;
    const { martlet } = this;
    this.requests.push(call);
    if (method === "GET") {
      this.cut = () => call.response.destroy();
      call.response.writeHead(200, { "Content-Type": "text/event-stream" });
      const wire = (text) => call.say(text);
      martlet.accept(["martlet", `resume.${headers["martlet-resume"].replace(" ", ".")}`], wire);
      call.response.on("close", () => martlet.wire === wire && (martlet.wire = undefined));
      return;
    }
    if (method === "DELETE") return call.answer(200, {});
    const [token, number] = headers["martlet-session"].split(" ");
    if (!martlet.wire || token !== martlet.session.tokens.at(-1)) return call.answer(409, { code: "not_open" });
    assert.equal(method, "POST");
    if (this.trouble === "refuse") return call.answer(503, {}, { "Retry-After": "1" });
    const { session } = martlet;
    assert.ok(+number <= session.received + 1, "no number is left out");
    const texts = call.body.split("\n").slice(session.received + 1 - number);
    for (const text of this.trouble === "halve" ? texts.slice(0, texts.length >> 1) : texts) martlet.hear(text);
    if (this.trouble === "lose") return call.response.destroy();
    call.answer(200, { received: session.received });
  }

  upgrade(request, socket) {
    socket.on("error", () => {});
    if (this.blocks) return super.upgrade(request, socket);
    const { martlet } = this;
    const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash("sha1").update(key).digest("base64");
    const head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${accept}`];
    socket.write(`${head.join("\r\n")}\r\nSec-WebSocket-Protocol: martlet\r\n\r\n`);
    this.cut = () => socket.destroy();
    const wire = (text) => {
      const bytes = Buffer.from(text);
      assert.ok(bytes.length < 65_536);
      const size = bytes.length < 126 ? [bytes.length] : [126, bytes.length >> 8, bytes.length & 255];
      socket.write(Buffer.concat([Buffer.of(0x81, ...size), bytes]));
    };
    martlet.accept(request.headers["sec-websocket-protocol"].split(", "), wire);
    let input = Buffer.alloc(0);
    socket.on("data", (bytes) => {
      input = Buffer.concat([input, bytes]);
      for (;;) {
        const short = input[1] & 127;
        assert.ok(short < 127 || input.length < 2);
        const start = short === 126 ? 8 : 6;
        const end = start + (short === 126 ? input.readUInt16BE(2) : short);
        if (!(input.length >= end)) return;
        const text = input.subarray(start, end).map((byte, i) => byte ^ input[start - 4 + (i % 4)]);
        if (input[0] === 0x81 && martlet.wire === wire) martlet.hear(`${text}`);
        if (input[0] === 0x88) socket.end(Buffer.of(0x88, 0));
        input = input.subarray(end);
      }
    });
    socket.on("close", () => martlet.wire === wire && (martlet.wire = undefined));
  }

  /** The messages of the application that have arrived, by either way. */
  get handled() {
    return this.martlet.handled;
  }
}

test("a session goes from a WebSocket to a stream and back, and loses nothing in either direction", async () => {
  const site = await Site.start();
  socketClass = RealWebSocket;
  const { martlet, details } = make({ sse: true }, `${site.url}/ws`);
  const got = () => details("message").filter(({ data }) => data.published).map(({ data }) => data.published);
  let sent = 0;
  const send = () => martlet.send({ sent: ++sent });
  const arrive = () => until(() => site.handled.length === sent && got().length === site.martlet.published);
  const ways = [];
  await until(() => martlet.state === "open");
  for (const blocks of [false, true, true, false, true]) {
    if (ways.length) {
      site.blocks = blocks;
      for (let i = 0; i < 2; i++) send(); // perhaps lost with the connection
      site.cut();
      site.martlet.wire = undefined;
      site.martlet.publish();
      await until(() => martlet.state === "waiting");
      send();
      site.martlet.publish();
      for (let i = 0; i < 9 && martlet.state !== "open"; i++) {
        await retry(martlet);
        await until(() => ["open", "waiting"].includes(martlet.state));
      }
    }
    ways.push(martlet.transport);
    site.martlet.publish();
    send();
    await arrive();
  }
  assert.deepEqual(ways, ["websocket", "sse", "sse", "websocket", "sse"]);
  assert.deepEqual(site.handled, Array.from({ length: sent }, (_, i) => i + 1));
  assert.deepEqual(got(), Array.from({ length: site.martlet.published }, (_, i) => i + 1));
  assert.equal(details("resumed").length, 4);
  assert.deepEqual(details("lost"), []);
  const { session } = site.martlet;
  await clock.pass(5_000);
  await until(() => session.kept.every((text) => text.includes("pong")));
});

for (let seed = 1; seed <= 12; seed++) {
  test(`over networks that come and go, everything arrives once and in order, both ways (seed ${seed})`, async () => {
    const chance = chances(seed);
    const site = await Site.start();
    socketClass = RealWebSocket;
    const { martlet, details } = make({ sse: true }, `${site.url}/ws`);
    await until(() => martlet.state === "open");
    const got = () => details("message").filter(({ data }) => data.published).map(({ data }) => data.published);
    const ways = new Set();
    let sent = 0;
    const step = async (isQuiet) => {
      random = chance();
      if (!isQuiet) {
        if (chance() < 0.1) site.blocks = !site.blocks;
        if (chance() < 0.1) site.trouble = [undefined, "refuse", "lose", "halve"][Math.floor(chance() * 4)];
        if (chance() < 0.1) site.cut();
        if (chance() < 0.6) site.martlet.publish();
        if (chance() < 0.5 && martlet.send({ sent: sent + 1 })) sent++;
      }
      for (let i = Math.floor(chance() * 9); i >= 0; i--) await settled();
      await clock.pass(chance() * 300);
      if (martlet.state === "open") ways.add(martlet.transport);
    };
    for (let i = 0; i < 300; i++) await step(false);
    site.trouble = undefined;
    const deadline = process.hrtime.bigint() + 10_000_000_000n;
    while (site.handled.length < sent || got().length < site.martlet.published) {
      assert.ok(process.hrtime.bigint() < deadline, "everything has arrived within 10 s");
      await step(true);
    }
    const upTo = (count) => Array.from({ length: count }, (_, i) => i + 1);
    assert.deepEqual(site.handled, upTo(sent));
    assert.deepEqual(got(), upTo(site.martlet.published));
    assert.deepEqual(details("lost"), []);
    assert.deepEqual([...ways].sort(), ["sse", "websocket"]);
    martlet.close();
  });
}
