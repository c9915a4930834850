"""Encoders to compare the Zipformer with, under the same contexts."""
