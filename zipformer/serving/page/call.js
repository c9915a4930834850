// One call to the server: audio goes out, words come back, each with the moment it came.

import { split } from "./words.js";

export class Call {
  // context: one of the server's; rate: of the samples; changed: called after every message.
  constructor(context, rate, changed) {
    this.context = context;
    this.words = []; // {text, end, shown, final}: seconds in the audio, milliseconds of the clock
    this._before = 0; // how many of them belong to segments that have ended
    this._texts = []; // of every segment
    this.provisional = []; // {text, shown}
    this.started = null; // when the audio began, by the clock
    this.ended = false; // whether nothing will follow
    this.text = "";
    this._changed = changed;
    this._pieces = []; // of audio, until the socket is open
    this._done = new Promise((resolve, reject) => { this._resolve = resolve; this._reject = reject; });
    this._done.catch(() => {}); // whoever waits for the end is told; nobody has to wait
    this._socket = new WebSocket(address(context, rate));
    this._socket.onopen = () => this._pieces.splice(0).forEach((piece) => this._socket.send(piece));
    this._socket.onmessage = (event) => this._receive(event.data);
    this._socket.onclose = (event) => this._fail(event.reason || "the server cannot be reached");
  }

  // Resolves when the last word is there, rejects with the reason if it will not come.
  get done() { return this._done; }

  // samples: the next ones, so many seconds of them, of which the last has just been spoken.
  send(samples, seconds) {
    this.started ??= performance.now() - 1000 * seconds;
    this._put(samples);
  }

  finish() { this._put("Done"); }

  // Forgets the call; nothing is reported any more.
  drop() {
    this._changed = () => {};
    this.ended = true;
    this._socket.close();
  }

  // Milliseconds from the end of a word to the moment it was final.
  delay(word) { return word.final - (this.started + 1000 * word.end); }

  _put(message) {
    if (this._socket.readyState === WebSocket.CONNECTING) this._pieces.push(message);
    else if (this._socket.readyState === WebSocket.OPEN) this._socket.send(message);
  }

  _receive(data) {
    if (data === "Done!") return;
    const message = JSON.parse(data);
    if (message.error) return this._fail(message.error);
    const now = performance.now();
    for (const word of message.words.slice(this.words.length - this._before)) {
      const before = this.provisional.shift();
      const shown = before && before.text === word.text ? before.shown : now;
      this.words.push({ ...word, end: message.start_time + word.end, shown, final: now });
    }
    if (message.is_final) this._before = this.words.length;
    this._texts[message.segment] = message.text;
    this.text = this._texts.join(" ");
    this.provisional = this._follow(message.provisional, now);
    this.ended = message.is_eof;
    this._changed(this);
    if (this.ended) this._resolve(this);
  }

  // The provisional words; those that stood in the same place before keep their time.
  _follow(text, now) {
    return split(text).map((word, i) => {
      const before = this.provisional[i];
      return before && before.text === word ? before : { text: word, shown: now };
    });
  }

  _fail(reason) {
    if (this.ended) return;
    this.ended = true;
    this.error = reason;
    this._changed(this);
    this._reject(new Error(reason));
  }
}

function address(context, rate) {
  const url = new URL(".", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("chunk", context.full ? "full" : context.chunk);
  if (!context.full) {
    url.searchParams.set("left", context.left);
    url.searchParams.set("right", context.right);
  }
  url.searchParams.set("words", 1);
  if (rate) url.searchParams.set("rate", rate);
  return url;
}
