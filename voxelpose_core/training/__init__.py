"""Training: the paper's loop on recordings, and both models on generated scenes."""
