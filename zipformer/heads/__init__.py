"""What turns encoder output into tokens."""
