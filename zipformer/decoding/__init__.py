"""From encoder outputs to words, figures and tables."""
