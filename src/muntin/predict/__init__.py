"""Asks a trained model about files."""

from .predictor import Predictions as Predictions
from .predictor import Predictor as Predictor
from .records import write_csv as write_csv
from .records import write_jsonl as write_jsonl
from .records.classes import Prediction as Prediction

__all__ = ["Prediction", "Predictions", "Predictor", "write_csv", "write_jsonl"]
