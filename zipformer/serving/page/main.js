// Puts the page together: one source of audio, a call for every column, and what they have heard.

import { Call } from "./call.js";
import { Column, element } from "./column.js";
import { Microphone } from "./microphone.js";
import { decode, Recording } from "./recording.js";
import { Timeline } from "./timeline.js";
import { split } from "./words.js";

const USUAL_RIGHT = 64; // frames, chosen at first where it is offered

const at = (id) => document.getElementById(id);
const timeline = new Timeline(at("timeline"), at("table"));
let about; // what the server says of its model
let choices = []; // contexts that stream, in the order of their latency
let columns = [];
let chosen; // the column that the slider belongs to
let source = null; // what is heard now: a Microphone or a Recording
let last = null; // the recording that was heard last, {samples, text}
let said = null; // its words, if they are known
let timed = true; // whether the audio comes at the pace of speech
let heard = 0; // seconds of audio
let turn = 0; // counts what was begun, so that what was left behind notices

function say(text, bad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("error", bad);
}

function enable(possible) {
  for (const node of document.querySelectorAll("#microphone, #file, #recordings button")) {
    node.disabled = !possible;
  }
  at("right").disabled = !possible || choices.length < 2;
}

// The columns: lowest latency, the chosen one, highest latency, and the whole utterance.
function build() {
  choices = about.contexts.filter((c) => !c.full).sort((a, b) => a.latency_ms - b.latency_ms);
  const full = about.contexts.find((c) => c.full);
  const usual = choices.findIndex((c) => c.right === USUAL_RIGHT);
  at("right").max = Math.max(0, choices.length - 1);
  at("right").value = usual >= 0 ? usual : Math.floor(choices.length / 2);
  const add = (kind, context, live = false) => {
    const column = new Column(kind, live);
    column.context = context;
    columns.push(column);
    at("columns").append(column.root);
    return column;
  };
  if (choices.length > 1) add("Lowest latency", choices[0]);
  chosen = add("Chosen", choices[at("right").value] ?? full, true);
  if (choices.length > 2) add("Highest latency", choices.at(-1));
  if (full && choices.length) add("Whole utterance", full);
  describe();
}

function describe() {
  const context = choices[at("right").value];
  if (!context) return;
  const text = `${context.right} frames (${10 * context.right} ms) with chunks of ${10 * context.chunk} ms`;
  at("right-value").textContent = text;
  at("right").setAttribute("aria-valuetext", text);
}

// The server makes a context ready when it is first asked for: ask before there is audio.
async function prepare() {
  enable(false);
  say("The server makes its contexts ready …");
  try {
    for (const column of columns) {
      const call = new Call(column.context, null, () => {});
      call.finish();
      await call.done;
    }
    say("Ready. Choose a recording, or speak.");
  } catch (error) {
    say(error.message, true);
  }
  enable(true);
}

function show() {
  for (const column of columns.filter((c) => c.call)) column.show(column.call, said, timed);
  timeline.draw(columns, chosen, heard, timed);
}

function follow(mine) {
  if (mine !== turn) return;
  timeline.draw(columns, chosen, heard, timed);
  if (source) requestAnimationFrame(() => follow(mine));
}

// Begins to hear: a call for every column; what was running before is left.
async function begin(text) {
  turn += 1;
  await source?.stop();
  for (const column of columns) {
    column.call?.drop();
    column.clear();
  }
  said = text ? split(text) : null;
  heard = 0;
  at("reference").hidden = !text;
  at("reference").textContent = text ? `Said: ${text}` : "";
  at("stop").disabled = false;
  return turn;
}

function open(rate) {
  for (const column of columns) column.call = new Call(column.context, rate, show);
}

function take(piece, rate) {
  const seconds = piece.length / rate;
  heard += seconds;
  for (const { call } of columns) call.send(piece, seconds);
}

async function end(mine) {
  source = null;
  at("stop").disabled = true;
  for (const { call } of columns) call.finish();
  say("Waiting for the last words …");
  const results = await Promise.allSettled(columns.map(({ call }) => call.done));
  if (mine !== turn) return;
  timeline.list(columns, timed);
  const failed = results.find((result) => result.status === "rejected");
  say(failed ? failed.reason.message : `${heard.toFixed(1)} s were heard.`, Boolean(failed));
}

async function hear(samples, text) {
  const mine = await begin(text);
  last = { samples, text };
  timed = at("paced").checked;
  source = new Recording(samples, about.sample_rate);
  open(null);
  say(`Hearing ${source.seconds.toFixed(1)} s …`);
  follow(mine);
  const take_mine = (piece) => mine === turn && take(piece, about.sample_rate);
  await source.run(take_mine, timed, at("sound").checked);
  if (mine === turn) await end(mine);
}

async function listen() {
  const mine = await begin(null);
  timed = true;
  last = null;
  try {
    const microphone = await Microphone.open(about.sample_rate);
    if (mine !== turn) return;
    source = microphone;
    const resample = microphone.rate === about.sample_rate ? null : microphone.rate;
    open(resample);
    microphone.start((piece) => mine === turn && take(piece, microphone.rate));
    say("Listening. Stop ends it.");
    follow(mine);
  } catch (error) {
    at("stop").disabled = true;
    say(error.message, true);
  }
}

async function stop() {
  const mine = turn;
  const stopped = source;
  await stopped?.stop();
  if (stopped instanceof Microphone && mine === turn) await end(mine);
}

async function hearFile(file) {
  if (!file) return;
  try {
    await hear(await decode(await file.arrayBuffer(), about.sample_rate), null);
  } catch (error) {
    say(error.message, true);
  }
}

async function hearShipped({ url, text }) {
  try {
    const bytes = await (await fetch(url)).arrayBuffer();
    await hear(await decode(bytes, about.sample_rate), text);
  } catch (error) {
    say(error.message, true);
  }
}

function wire() {
  at("microphone").onclick = listen;
  at("stop").onclick = stop;
  at("file").onchange = (event) => hearFile(event.target.files[0]);
  at("right").oninput = describe;
  at("right").onchange = async () => {
    chosen.context = choices[at("right").value];
    await begin(null);
    at("stop").disabled = true;
    await prepare();
    if (last) await hear(last.samples, last.text);
  };
  document.ondragover = (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  };
  document.ondragleave = () => document.body.classList.remove("dropping");
  document.ondrop = (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    hearFile(event.dataTransfer.files[0]);
  };
  for (const recording of about.recordings) {
    const button = element("button", "", recording.name);
    button.type = "button";
    button.onclick = () => hearShipped(recording);
    at("recordings").append(button);
  }
}

try {
  about = await (await fetch("about")).json();
  at("about").textContent = `Model: ${about.model}. ${about.text}`;
  build();
  wire();
  await prepare();
} catch (error) {
  say(`The server cannot be reached: ${error.message}`, true);
}
