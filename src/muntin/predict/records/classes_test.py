import csv
import io
import json

import torch

from muntin.answers import Classes
from muntin.predict import Prediction, write_csv, write_jsonl
from muntin.predict.records import classes

CAT = Prediction(file="ä,1.jpg", label="cat", score=0.75, top=(("cat", 0.75), ("dog", 0.25)))


def test_json_lines_hold_every_field():
    file = io.StringIO()
    write_jsonl([CAT, CAT], file)
    first, second = map(json.loads, file.getvalue().splitlines())
    top = [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]
    assert first == second == {"file": "ä,1.jpg", "label": "cat", "score": 0.75, "top": top}


def test_csv_has_a_column_for_every_place():
    file = io.StringIO(newline="")
    write_csv("classes", [CAT], file)
    (row,) = csv.DictReader(io.StringIO(file.getvalue()))
    assert row == {"file": "ä,1.jpg", "label": "cat", "score": "0.750000", "label_2": "dog", "score_2": "0.250000"}


def test_an_answer_becomes_a_prediction_a_sample_best_first():
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]])
    first, second = classes.read(Classes(logits), ["a.png", "b.png"], ("ant", "bee", "cow"), top=2)
    assert [label for label, _ in first.top] == ["bee", "cow"]
    assert (second.file, second.label) == ("b.png", "ant")
    assert second.score == logits[1].softmax(0)[0].item()
