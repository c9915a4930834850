// The microphone as pieces of 100 ms, resampled to the rate of the model where the browser can.

const WHAT_TO_DO = {
  NotAllowedError: "The browser may not use the microphone: allow it beside the address, and press Microphone again.",
  NotFoundError: "There is no microphone: plug one in, or take a file.",
  NotReadableError: "The microphone is in use by another program: close that, or take a file.",
};
const NOT_HERE =
  "Browsers give microphones to pages of localhost, or over TLS, alone: open this page as " +
  "http://localhost, or start the server with --tls-cert and --tls-key.";

export class Microphone {
  // Asks for the microphone; the error of a refusal says what to do.
  static async open(rate) {
    if (!navigator.mediaDevices) throw new Error(NOT_HERE);
    let stream;
    try {
      // What browsers do to voices for telephony is no speech that a model was trained on.
      const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      stream = await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      throw new Error(WHAT_TO_DO[error.name] ?? `The microphone cannot be used: ${error.message}`);
    }
    try {
      return await Microphone._listen(stream, new AudioContext({ sampleRate: rate }));
    } catch (error) {
      if (error.name !== "NotSupportedError") throw error;
      return Microphone._listen(stream, new AudioContext()); // the server will resample
    }
  }

  static async _listen(stream, context) {
    const microphone = new Microphone();
    const source = context.createMediaStreamSource(stream); // refused at another rate by some
    await context.audioWorklet.addModule(new URL("collector.js", import.meta.url));
    const node = new AudioWorkletNode(context, "collector", { numberOfOutputs: 0 });
    Object.assign(microphone, { rate: context.sampleRate, _stream: stream, _context: context, _source: source, _node: node });
    return microphone;
  }

  // Hands over pieces, (N,) floats, until `stop`.
  start(heard) {
    this._ended = new Promise((resolve) => {
      this._node.port.onmessage = ({ data }) => (data === null ? resolve() : heard(data));
    });
    this._source.connect(this._node);
  }

  // Ends; resolves when the last piece has been handed over.
  async stop() {
    this._node.port.postMessage("stop");
    await this._ended;
    this._stream.getTracks().forEach((track) => track.stop());
    await this._context.close();
  }
}
