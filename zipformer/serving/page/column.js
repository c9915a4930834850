// What one context has heard: final and provisional words with their delays, and errors.

import { percent, score, split } from "./words.js";

export class Column {
  // kind: what this column is for; live: whether a screen reader reads its words out.
  constructor(kind, live) {
    this.kind = kind;
    this.root = element("article", "column");
    this._title = this.root.appendChild(element("h3"));
    this._what = this.root.appendChild(element("p", "dim facts"));
    this._words = this.root.appendChild(element("div", "words"));
    this._facts = this.root.appendChild(element("p", "facts"));
    this.root.setAttribute("aria-label", kind);
    this._words.setAttribute("aria-live", live ? "polite" : "off");
    if (live) this.root.classList.add("chosen");
  }

  set context(context) {
    this._context = context;
    this.root.dataset.context = context.name;
    this._title.textContent = this.kind;
    this._what.textContent = context.full
      ? "all of it, before the first word"
      : `right ${10 * context.right} ms, chunk ${10 * context.chunk} ms: ${context.latency_ms} ms at most`;
    this.clear();
  }

  get context() { return this._context; }

  clear() {
    this.call = null;
    this.root.dataset.state = "empty";
    this._words.replaceChildren();
    this._facts.textContent = "";
  }

  // Shows how a call stands. said: the words, where they are known; timed: whether delays mean
  // something, as they do at the pace of speech.
  show(call, said, timed) {
    this.call = call;
    this.root.dataset.state = call.error ? "failed" : call.ended ? "done" : "hearing";
    const known = this._words.querySelectorAll(".final").length;
    this._words.querySelectorAll(".provisional").forEach((node) => node.remove());
    for (const word of call.words.slice(known)) {
      const node = this._words.appendChild(element("span", "word final", word.text));
      if (!timed) continue;
      const delay = Math.round(call.delay(word));
      node.append(element("small", "", `${delay} ms`));
      const shown = Math.round(word.shown - call.started - 1000 * word.end);
      node.title = `shown after ${shown} ms, final after ${delay} ms`;
    }
    for (const word of call.provisional) {
      this._words.append(element("span", "word provisional", word.text));
    }
    this._words.scrollTop = this._words.scrollHeight;
    this._facts.textContent = call.error ?? this._sum(call, said, timed);
    this._facts.classList.toggle("error", Boolean(call.error));
  }

  _sum(call, said, timed) {
    const facts = [];
    if (said) facts.push(`errors ${percent(score(said, split(call.text), call.ended))}`);
    if (timed && call.words.length) {
      const total = call.words.reduce((sum, word) => sum + call.delay(word), 0);
      facts.push(`mean delay ${Math.round(total / call.words.length)} ms`);
    }
    if (call.ended && !call.words.length) facts.push("no word was heard");
    return facts.join(" · ");
  }
}

export function element(name, classes = "", text = "") {
  const node = document.createElement(name);
  if (classes) node.className = classes;
  node.textContent = text;
  return node;
}
