"""Test sets at several contexts: decoding, scoring, result folders, choice of the epoch."""
