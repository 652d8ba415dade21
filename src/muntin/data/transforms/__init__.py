"""What a model is fed, and how samples are changed in training."""
