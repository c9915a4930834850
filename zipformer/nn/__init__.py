"""What all encoders share: windows, state, frontend, regularizers; nothing of data or training."""
