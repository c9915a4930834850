// When words were said and when they were final, a lane for every column; and the last step.

import { element } from "./column.js";

const WIDTH = 960;
const LEFT = 150;
const LANE = 42;
const WAITS = 4; // drawn below each other
const TOP = 46;
const FRAME = 0.01; // seconds
const FRONTEND = 13; // frames that a step needs beyond chunk and right context

export class Timeline {
  constructor(svg, table) {
    this._svg = svg;
    this._table = table;
  }

  // columns: those with calls; chosen: the one whose step is drawn; heard: seconds of audio so far.
  draw(columns, chosen, heard, timed) {
    const shown = columns.filter((column) => column.call);
    const ends = shown.flatMap(({ call }) => call.words.map((word) => this._final(call, word, timed)));
    const seconds = Math.max(4, Math.ceil(Math.max(heard, ...ends)));
    const x = (time) => LEFT + ((WIDTH - LEFT - 10) * time) / seconds;
    const height = TOP + LANE * shown.length + 22;
    const parts = [...axis(x, seconds, height), ...step(x, chosen.context, heard)];
    parts.push(shape("line", { class: "now", x1: x(heard), x2: x(heard), y1: 4, y2: height - 20 }));
    shown.forEach((column, i) => parts.push(...this._lane(column, TOP + LANE * i + 22, x, timed)));
    this._svg.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
    this._svg.replaceChildren(...parts);
    const words = shown.map(({ kind, call }) => `${kind}: ${call.words.length} words`);
    this._svg.setAttribute("aria-label", `${words.join(", ")}; the table below has their times`);
  }

  // The same as numbers.
  list(columns, timed) {
    const table = element("table");
    const names = ["column", "word", "said until", "shown", "final", "delay", "confidence"];
    const head = table.createTHead().insertRow();
    names.forEach((name) => head.append(element("th", "", name)));
    const body = table.createTBody();
    for (const { kind, call } of columns.filter((column) => column.call)) {
      for (const word of call.words) {
        const clock = (time) => (timed ? `${((time - call.started) / 1000).toFixed(2)} s` : "–");
        const delay = timed ? `${Math.round(call.delay(word))} ms` : "–";
        const cells = [kind, word.text, `${word.end.toFixed(2)} s`, clock(word.shown), clock(word.final)];
        const row = body.insertRow();
        [...cells, delay, word.confidence.toFixed(2)].forEach((cell) => row.append(element("td", "", cell)));
      }
    }
    this._table.replaceChildren(table);
  }

  _final(call, word, timed) { return timed ? (word.final - call.started) / 1000 : word.end; }

  _lane({ kind, call }, y, x, timed) {
    const parts = [shape("text", { x: 0, y: y + 4 }, kind)];
    for (const [i, word] of call.words.entries()) {
      const to = x(this._final(call, word, timed));
      const below = y + 4 * (i % WAITS); // waits overlap where the latency is high
      parts.push(shape("line", { class: "wait", x1: x(word.end), x2: to, y1: below, y2: below }));
      parts.push(shape("circle", { class: "spoken", cx: x(word.end), cy: y, r: 3 }));
      parts.push(shape("text", { x: x(word.end), y: y - 6, "text-anchor": "end" }, word.text));
    }
    return parts;
  }
}

function axis(x, seconds, height) {
  const every = Math.ceil(seconds / 15);
  const parts = [];
  for (let second = 0; second <= seconds; second += every) {
    const at = { x1: x(second), x2: x(second), y1: TOP - 14, y2: height - 20 };
    parts.push(shape("line", { class: "axis", ...at }));
    parts.push(shape("text", { class: "dim", x: x(second), y: height - 6, "text-anchor": "middle" }, `${second} s`));
  }
  return parts;
}

// The last step that could run when so many seconds had been heard.
function step(x, context, heard) {
  if (context.full) return [];
  const [chunk, right] = [FRAME * context.chunk, FRAME * context.right];
  const number = Math.floor((heard - right - FRAME * FRONTEND) / chunk) - 1;
  const begin = Math.max(0, number) * chunk;
  const box = (name, from, length) =>
    shape("rect", { class: name, x: x(from), width: x(from + length) - x(from), y: 12, height: 14 });
  return [
    shape("text", { x: 0, y: 23 }, "chunk and right context"),
    box("chunk", begin, chunk),
    box("right", begin + chunk, right),
  ];
}

function shape(name, attributes, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
  node.textContent = text;
  return node;
}
