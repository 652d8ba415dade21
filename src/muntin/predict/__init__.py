"""Using a trained model: measure it, ask it about pictures."""

from .evaluate import evaluate as evaluate
from .evaluate import evaluate_heads as evaluate_heads
from .predictor import Prediction as Prediction
from .predictor import Predictions as Predictions
from .predictor import Predictor as Predictor
from .records import write_csv as write_csv
from .records import write_jsonl as write_jsonl

__all__ = [
    "Prediction",
    "Predictions",
    "Predictor",
    "evaluate",
    "evaluate_heads",
    "write_csv",
    "write_jsonl",
]
