"""The verbs of the command ``zipformer``, and what they share: options and one-line errors."""
