// SPDX-License-Identifier: Apache-2.0

// What an application writes must have types, and what cannot work must have none: this file is checked, not run.

// @ts-types="./martlet.d.ts"
import { Martlet, type LostReason, type MartletState, type MartletTransport } from "./martlet.js";

const stop = new AbortController();
const client = new Martlet("wss://push.example.org/ws", {
  getToken: async (reason) => (reason === "expiring" ? "a newer one" : null),
  threads: ["t1", "t2"],
  jobs: "j1",
  resume: true,
  sse: false,
  signal: stop.signal,
});
client.addEventListener("message", ({ detail }) => console.log(detail.text, detail.data?.type));
client.addEventListener("state", ({ detail }) => console.log(detail.state satisfies MartletState, detail.code, detail.retryAt));
client.addEventListener("resumed", ({ detail }) => console.log(detail.replay.toFixed()));
client.addEventListener("lost", ({ detail }) => console.log(detail.reason satisfies LostReason, detail.unconfirmed.length));
client.addEventListener("expiring", ({ detail }) => console.log(detail.expiresAt));
const taken: boolean = client.send({ type: "hello" });
client.join({ thread: "t3" });
client.leave({ job: "j1" });
console.log(taken, client.greeting?.connection_id, client.transport satisfies MartletTransport);
client.close();

// @ts-expect-error: a room needs a name
client.join({});
// @ts-expect-error: there is no such event
client.addEventListener("mesage", ({ detail }) => detail.text);
// @ts-expect-error: it is told, not chosen
client.transport = "sse";
// @ts-expect-error: it is on or off
new Martlet("/ws", { sse: "/sse" });
// @ts-expect-error: a token is text
new Martlet("/ws", { getToken: () => 7 });
