/* Link: the one WebSocket of the page.
 *
 * In    frames to send; what the next hello should say
 * Out   frames heard; the state of the connection
 * Rule  one hello at a time; no answer is awaited for ever; a lost connection comes back by itself
 * Why   a page must survive a restart of the service, a sleeping laptop and a pulled cable without a reload
 */

import { delayMs, goodbye, proved, pulse } from "../core/backoff.js";

const WELCOME_MAX_MS = 10_000;
const TICK_MS = 2_000;
const ACK_FRAMES = 32;
const ACK_MS = 1_000;
const ONLINE_MS = 1_000; // When a network comes back, all its pages hear of it at once.

export class Link {
  #address;
  #hello;
  #on;
  #socket = null;
  #attempt = 0;
  #retry = 0; // Timers.
  #welcome = 0;
  #ack = 0;
  #helloBusy = false;
  #helloAgain = false;
  #heardAt = 0;
  #welcomedAt = null;
  #until = null;
  #why = "";
  #pingedAt = 0;
  #seq = 0;
  #unacked = 0;

  /** `hello()` gives what the next hello says; `on` hears `frame`, `link` and `joining`. */
  constructor(address, hello, on) {
    [this.#address, this.#hello, this.#on] = [address, hello, on];
    setInterval(() => this.#tick(), TICK_MS);
    addEventListener("online", () => setTimeout(() => this.wake(), Math.random() * ONLINE_MS));
    addEventListener("offline", () => this.#socket === null ? this.#wait() : this.#ping());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.wake());
    addEventListener("pagehide", () => this.#socket?.close());
    addEventListener("pageshow", (event) => event.persisted && this.wake());
  }

  /** Connect now, or make sure that the open connection is alive. */
  wake() {
    if (this.#socket === null) this.#open();
    else this.#ping();
  }

  /** Say hello (again) with what is wanted now. */
  join() {
    if (this.#helloBusy) this.#helloAgain = true;
    else if (this.#socket?.readyState === WebSocket.OPEN) this.#sayHello();
    else if (this.#socket === null && !this.#retry) this.#open();
  }

  /** Give back whether it went out. */
  send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** The page has applied everything up to `seq`. */
  applied(seq) {
    if (seq <= this.#seq) return;
    this.#unacked += seq - this.#seq;
    this.#seq = seq;
    if (this.#unacked >= ACK_FRAMES) this.#sayAck();
    else this.#ack ||= setTimeout(() => this.#sayAck(), ACK_MS);
  }

  #open() {
    clearTimeout(this.#retry);
    this.#retry = 0;
    this.#tell("connecting");
    const socket = new WebSocket(this.#address);
    this.#socket = socket;
    this.#welcome = setTimeout(() => this.#lost(socket), WELCOME_MAX_MS);
    socket.addEventListener("open", () => this.#socket === socket && this.#sayHello());
    socket.addEventListener("message", (event) => this.#socket === socket && this.#heard(event.data));
    socket.addEventListener("close", (event) => this.#lost(socket, event.code));
  }

  #sayHello() {
    this.#helloBusy = true;
    this.#helloAgain = false;
    clearTimeout(this.#welcome);
    this.#welcome = setTimeout(() => this.#lost(this.#socket), WELCOME_MAX_MS);
    const wish = this.#hello();
    if (this.#welcomedAt === null) this.#tell("resuming");
    this.#on.joining();
    this.send({ type: "hello", v: 1, merge: true, ...wish });
  }

  #heard(data) {
    this.#heardAt = performance.now();
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return; // Not of this protocol; the next frame may be.
    }
    if (frame.type === "welcome") this.#welcomed(frame);
    if (frame.type === "error" && ["unknown-session", "wrong-version"].includes(frame.code)) this.#answered();
    this.#on.frame(frame);
    if (!this.#helloBusy && this.#helloAgain) this.#sayHello();
  }

  #welcomed(frame) {
    this.#answered();
    this.#welcomedAt ??= performance.now();
    const { last_seq } = this.#hello();
    this.#seq = frame.recovered ? last_seq : frame.head_seq ?? 0;
    this.#unacked = 0;
    this.#on.link({ state: "online", attempt: 0, until: null, why: "" });
  }

  #tell(state, until = null) {
    this.#on.link({ state, attempt: this.#attempt, until, why: this.#why });
  }

  #wait() {
    this.#tell(navigator.onLine ? "waiting" : "offline", this.#until);
  }

  #answered() {
    clearTimeout(this.#welcome);
    this.#helloBusy = false;
  }

  #sayAck() {
    clearTimeout(this.#ack);
    this.#ack = this.#unacked = 0;
    this.send({ type: "ack", seq: this.#seq });
  }

  #ping() {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.#pingedAt > this.#heardAt) return;
    this.#pingedAt = performance.now();
    this.send({ type: "ping", t: Math.round(this.#pingedAt) });
  }

  #tick() {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    const what = pulse(performance.now(), this.#heardAt, this.#pingedAt);
    if (what === "ping") this.#ping();
    if (what === "dead") this.#lost(this.#socket);
  }

  #lost(socket, code = 0) {
    if (socket !== this.#socket || socket === null) return;
    this.#socket = null;
    socket.close();
    for (const timer of [this.#welcome, this.#ack]) clearTimeout(timer);
    this.#helloBusy = this.#helloAgain = false;
    this.#ack = this.#unacked = this.#heardAt = this.#pingedAt = 0;
    if (proved(performance.now(), this.#welcomedAt)) this.#attempt = 0;
    this.#welcomedAt = null;
    this.#why = goodbye(code);
    const wait = delayMs(this.#attempt, Math.random(), code, document.hidden);
    this.#attempt++;
    this.#until = Date.now() + wait;
    this.#wait();
    this.#retry = setTimeout(() => this.#open(), wait);
  }
}
