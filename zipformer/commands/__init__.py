"""What the verbs share: options, one-line errors, and the ``zipformer`` command."""
