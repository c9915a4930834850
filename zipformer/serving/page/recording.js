// A recording as pieces of 100 ms, at the pace of speech or at once.

// The samples of a sound file, one channel at the rate of the model.
export async function decode(bytes, rate) {
  let buffer;
  try {
    buffer = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
  } catch {
    throw new Error("This browser cannot read that file as sound: try WAV, FLAC, MP3 or Opus.");
  }
  const samples = new Float32Array(buffer.length);
  for (let c = 0; c < buffer.numberOfChannels; c++) {
    buffer.getChannelData(c).forEach((value, i) => { samples[i] += value / buffer.numberOfChannels; });
  }
  return samples;
}

export class Recording {
  constructor(samples, rate) {
    this.samples = samples;
    this.rate = rate;
    this._stopped = false;
  }

  get seconds() { return this.samples.length / this.rate; }

  // Hands over pieces until the end or `stop`; each when its last sample would have been spoken.
  async run(heard, paced, audible) {
    const size = Math.round(this.rate / 10);
    const player = audible ? this._play() : null;
    const started = performance.now();
    for (let i = 0; i < this.samples.length && !this._stopped; i += size) {
      const piece = this.samples.slice(i, i + size);
      const due = started + (1000 * (i + piece.length)) / this.rate;
      if (paced) await sleep(due - performance.now());
      heard(piece);
    }
    if (this._stopped) await player?.close();
  }

  stop() { this._stopped = true; }

  _play() {
    const player = new AudioContext();
    const buffer = player.createBuffer(1, this.samples.length, this.rate);
    buffer.copyToChannel(this.samples, 0);
    const node = new AudioBufferSourceNode(player, { buffer });
    node.connect(player.destination);
    node.onended = () => player.state !== "closed" && player.close();
    node.start();
    return player;
  }
}

function sleep(milliseconds) {
  return new Promise((resolve) => { setTimeout(resolve, Math.max(0, milliseconds)); });
}
