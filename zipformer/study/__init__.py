"""Studies: several ways to train, seeds of each, decoded alike and shown with their uncertainty."""
