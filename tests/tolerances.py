"""How far two computations of the same thing may lie apart, in one place."""

ENCODER = 1e-4  # absolute, float32 encoder outputs (they are about 2 in size)
LOSS = 1e-5  # relative, float32 losses and their gradients
EXACT = 0.0  # the same operations in the same order
ROUNDING = 1e-5  # absolute, float32, a different order of a few operations
