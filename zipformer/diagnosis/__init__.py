"""Checks of the machine that training is to run on: ``zipformer check-gpu``."""
