// Runs beside the page, where the audio comes in 128 samples at a time: makes pieces of 100 ms.

class Collector extends AudioWorkletProcessor {
  constructor() {
    super();
    this._piece = new Float32Array(Math.round(sampleRate / 10));
    this._filled = 0;
    this.port.onmessage = () => {
      this.port.postMessage(this._piece.slice(0, this._filled));
      this.port.postMessage(null);
      this._stopped = true;
    };
  }

  process([[samples]]) {
    if (this._stopped) return false;
    for (let i = 0; samples && i < samples.length; ) {
      const some = samples.subarray(i, i + this._piece.length - this._filled);
      this._piece.set(some, this._filled);
      this._filled += some.length;
      i += some.length;
      if (this._filled === this._piece.length) {
        this.port.postMessage(this._piece.slice());
        this._filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("collector", Collector);
