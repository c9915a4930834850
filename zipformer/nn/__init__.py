"""Modules of the Zipformer encoder; they know nothing of data, training or decoding."""
