"""Will write a trained model as files for other runtimes. Not yet.

Planned: streaming and offline ONNX with a chosen right context, in the layout that sherpa-onnx
reads, each file checked against PyTorch before it is kept.
"""

import sys


def main() -> None:
    sys.exit(
        "export: not yet. Streaming and offline ONNX, checked against PyTorch, will come here; "
        "until then use scripts/decode.py and scripts/transcribe.py on the checkpoint."
    )


if __name__ == "__main__":
    main()
