"""From a name, a file or an address to a model, and back."""
