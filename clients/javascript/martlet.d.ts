// SPDX-License-Identifier: Apache-2.0

/**
 * Where a client is with its server.
 *
 * - `connecting`: it asks for a token, or opens a socket, and has not had the first frame.
 * - `open`: the first frame came. What is sent now goes out at once.
 * - `waiting`: the socket was lost, or could not be opened. The next attempt is at `retryAt`.
 * - `closed`: it is over for good: the application closed it, or the server said that another attempt cannot help.
 */
export type MartletState = "connecting" | "open" | "waiting" | "closed";

/**
 * How a client is connected.
 *
 * - `websocket`: by a WebSocket, which is always tried first.
 * - `sse`: by server-sent events and posts, after two WebSockets in a row had no first frame: some networks let none
 *   through. When such a stream ends, a WebSocket is tried again. Sessions go on from one to the other.
 */
export type MartletTransport = "websocket" | "sse";

/**
 * Why the application is asked for a token.
 *
 * - `connect`: there is none yet, or the last attempt to connect failed (browsers do not say why).
 * - `rejected`: the server refused the last one, or it expired (close code 4401).
 * - `expiring`: the present one expires in 30 seconds; the connection goes on with the new one.
 */
export type TokenReason = "connect" | "rejected" | "expiring";

/**
 * Why messages may have been missed.
 *
 * - `expired`: the client was away for longer than the session waits.
 * - `overflow`: more messages came meanwhile than the server keeps.
 * - `unknown`: the server does not have the session (any more).
 * - `forbidden`: the new token does not allow a room of the session.
 * - `ahead`: the counts of server and client contradict each other.
 * - `unsupported`: sessions are turned off, at the server or by `resume: false`.
 */
export type LostReason = "expired" | "overflow" | "unknown" | "forbidden" | "ahead" | "unsupported";

/** What a client is made with. */
export interface MartletOptions {
  /**
   * Gives a token (a JWT) for the user, usually by asking the application's own backend.
   *
   * It is asked before the first connection, and when another token is needed; in between, the token is kept in memory.
   * If it throws, rejects, or does not answer within 10 seconds, the client waits and asks again. An empty answer connects
   * without a token. Without `getToken`, a close with 4401 is final.
   */
  getToken?: (reason: TokenReason) => string | null | undefined | Promise<string | null | undefined>;
  /** Threads to join in every session, like `join({ thread })` for each. */
  threads?: string | readonly string[];
  /** Jobs to join in every session, like `join({ job })` for each. */
  jobs?: string | readonly string[];
  /** Whether to use a session, which outlives its socket. By default `true`. Without one, each reconnect raises `lost`. */
  resume?: boolean;
  /**
   * Whether to read server-sent events, and to post, where no WebSocket gets through. By default `true`; it needs a
   * browser that has `TextDecoderStream`. The URL is the WebSocket's with `sse` as the last part of its path: `/ws?user=a`
   * becomes `/sse?user=a`. To a server that has no sessions, nothing can be sent then.
   */
  sse?: boolean;
  /** Closes the client when it is aborted. */
  signal?: AbortSignal;
}

/** A room: a thread (a conversation), a job (a running task), or one of each. Ids are text of 1 to 256 bytes. */
export type MartletRoom = { thread: string; job?: string } | { job: string; thread?: string };

/** The server's first frame on the present socket, or its first event. It may have more members than are named here. */
export interface MartletGreeting {
  readonly type: "connection_established";
  /** The id of the connection, which stays the same when the session is resumed. */
  readonly connection_id: string;
  readonly user_id: string;
  readonly heartbeat_interval_ms: number;
  /** The session's token for the next resume. Who has it and the user's JWT can take the session over. */
  readonly session?: string;
  /** For how long the session waits for another socket, in milliseconds. */
  readonly resume_window_ms?: number;
  readonly [member: string]: unknown;
}

/** A text message from the server, as it came. */
export interface MartletMessage {
  /** The exact text. */
  readonly text: string;
  /** The text parsed as JSON; `undefined` if it is not JSON. */
  readonly data: any;
}

/** Where the client is now, and why. */
export interface MartletStateChange {
  readonly state: MartletState;
  /**
   * The close code, in states `waiting` and `closed`: that of the server, or 4408 if it was silent; 0 if there was none.
   * Server-sent events that the server refuses have the code that a WebSocket would have (4401 for the status 401).
   */
  readonly code: number;
  /** The reason in words, in states `waiting` and `closed`; often empty, because a broken network gives none. */
  readonly reason: string;
  /** When the next attempt begins, in state `waiting`, in milliseconds since 1970; else 0. */
  readonly retryAt: number;
}

/** Messages may have been missed: fetch the state anew. */
export interface MartletLoss {
  readonly reason: LostReason;
  /**
   * The application's messages whose fate is unknown, oldest first: they were sent in the session that is lost, and the
   * server had not confirmed them. They are not sent again. (Messages that were never on a socket are sent in the new
   * session, and not listed.) Always empty without sessions.
   */
  readonly unconfirmed: readonly string[];
}

/** The events of a client, by name. `detail` of the `CustomEvent` is the value. */
export interface MartletEventMap {
  /**
   * A message came. So do Martlet's own (`thread_joined`, `thread_left`, `job_joined`, `job_left`, `error`), except
   * `connection_established`, `pong`, `token_expiring` and `authenticated`. If a listener throws, the error is reported
   * as an uncaught one, and the client goes on.
   */
  message: CustomEvent<MartletMessage>;
  /** The state changed, or in state `waiting` the time of the next attempt. */
  state: CustomEvent<MartletStateChange>;
  /** The session goes on after a break: nothing was missed. The `replay` missed messages follow. Raised after `state`. */
  resumed: CustomEvent<{ readonly replay: number }>;
  /** There is a new session, and messages may have been missed in between. Raised after `state`, before any new message. */
  lost: CustomEvent<MartletLoss>;
  /** The token expires soon, at this time (ISO 8601). `getToken` is asked by itself; nothing needs to be done. */
  expiring: CustomEvent<{ readonly expiresAt: string }>;
}

/**
 * A connection to Martlet that outlives its network.
 *
 * It connects when it is made, and reconnects after a growing, random pause until it is closed. Within the session that the
 * server keeps for it (two minutes by default), a break loses nothing, in either direction: what was missed is replayed,
 * and what the server did not get is sent again, in order and once. If that is impossible, it says so by `lost`.
 * Nothing is stored beyond the page: a reload begins a new session.
 *
 * ```js
 * const martlet = new Martlet("/ws", { getToken: async () => (await fetch("/token")).text(), threads: ["t1"] });
 * martlet.addEventListener("message", ({ detail }) => console.log(detail.data));
 * martlet.addEventListener("lost", () => location.reload());
 * ```
 */
export class Martlet extends EventTarget {
  /**
   * Makes a client, and connects.
   *
   * @param url `ws:`, `wss:`, `http:`, `https:`, or a path like `/ws`, which is resolved against the page. A token never
   *   goes into it.
   * @throws TypeError if the URL is invalid.
   */
  constructor(url: string | URL, options?: MartletOptions);

  /** Where the client is. */
  readonly state: MartletState;
  /** As in {@link MartletStateChange.code}. */
  readonly code: number;
  /** As in {@link MartletStateChange.reason}. */
  readonly reason: string;
  /** As in {@link MartletStateChange.retryAt}. */
  readonly retryAt: number;
  /** How it is, or was last, connected, or tries to be. */
  readonly transport: MartletTransport;
  /** The first frame of the newest socket that had one; `undefined` before the first. */
  readonly greeting: MartletGreeting | undefined;

  /**
   * Sends a message: a string as it is, anything else as JSON.
   *
   * While the client is away, up to 100 messages wait; so they do while the server is busy (errors `rate_limited` and
   * `backend_unavailable` in a session), and those that it refused are sent again by themselves, in order. A large backlog
   * is sent in portions, so that it is not too much at once.
   *
   * @returns `true` if it was sent or waits; `false` if 100 messages wait, the client is closed, or the value has no JSON.
   * @throws TypeError if `JSON.stringify` does.
   */
  send(value: unknown): boolean;

  /**
   * Joins rooms, now and in every session to come. The server answers with a message: `thread_joined` or `job_joined`, or
   * an `error`. A room that the backend took the user out of is asked for again in the next session, unless it is left.
   */
  join(room: MartletRoom): void;

  /** Leaves rooms. The server answers with a message: `thread_left` or `job_left`, or an `error`. */
  leave(room: MartletRoom): void;

  /** Closes for good, and ends the session. What still waits to be sent is dropped. Closing again does nothing. */
  close(): void;

  addEventListener<Name extends keyof MartletEventMap>(
    type: Name,
    listener: ((this: Martlet, event: MartletEventMap[Name]) => unknown) | { handleEvent(event: MartletEventMap[Name]): unknown } | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;

  removeEventListener<Name extends keyof MartletEventMap>(
    type: Name,
    listener: ((this: Martlet, event: MartletEventMap[Name]) => unknown) | { handleEvent(event: MartletEventMap[Name]): unknown } | null,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}
