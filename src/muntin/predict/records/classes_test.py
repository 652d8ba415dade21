import csv
import io
import json

from muntin.predict import Prediction, write_csv, write_jsonl

CAT = Prediction(file="ä,1.jpg", label="cat", score=0.75, top=(("cat", 0.75), ("dog", 0.25)))


def test_json_lines_hold_every_field():
    file = io.StringIO()
    write_jsonl([CAT, CAT], file)
    first, second = map(json.loads, file.getvalue().splitlines())
    top = [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]
    assert first == second == {"file": "ä,1.jpg", "label": "cat", "score": 0.75, "top": top}


def test_csv_has_a_column_for_every_place():
    file = io.StringIO(newline="")
    write_csv([CAT], file)
    (row,) = csv.DictReader(io.StringIO(file.getvalue()))
    assert row == {"file": "ä,1.jpg", "label": "cat", "score": "0.750000", "label_2": "dog", "score_2": "0.250000"}
