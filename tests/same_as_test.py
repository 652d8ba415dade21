"""tools/same_as.py finds whatever differs between two trees, to the last bit."""

import copy
import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[1]


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    assert spec
    assert spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


same_as, recorder = tool("same_as"), tool("same_as_recorder")


class Batch(NamedTuple):
    """A batch whose tensors stand in groups."""

    inputs: dict[str, Any]
    target: dict[str, Any]
    names: list[str]
    indices: Any
    places: list[Any]


class Losses(NamedTuple):
    terms: dict[str, torch.Tensor]
    shown: dict[str, torch.Tensor]


class Task(nn.Module):
    def __init__(self):
        super().__init__()
        self.head, self.scale = nn.Linear(2, 3), 1.0

    def losses(self, batch):
        return Losses({"cross_entropy": self.head(batch.inputs["image"]).square().mean() * self.scale}, {})

    forward = losses


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    image, soft = torch.randn(4, 2, generator=generator), torch.rand(4, 3, generator=generator)
    return Batch({"image": image}, {"label": torch.arange(4), "soft": soft}, list("abcd"), [3, 1, 2, 0], [])


def recorded(change=lambda batch, task: None, whole: bool = False) -> dict[str, Any]:
    """What is recorded of one training step, and of the weights, after `change`."""
    torch.manual_seed(0)
    seen, one, task = recorder.Recorder(whole), batch(), Task()
    change(one, task)
    facts = seen.start()
    seen._saw_batch("train/epoch 0/batch 0", one)
    losses = task(one)
    seen._saw_forward(task, (one,), losses)
    sum(losses.terms.values()).backward()
    seen._saw_step(torch.optim.SGD(task.parameters(), 0.1))
    for name, tensor in task.state_dict().items():
        facts.add(f"model/{name}", tensor)
    return {"recipe": "digits", "facts": facts, "error": ""}


def first_difference(change) -> str:
    found = same_as.compare(recorded(), recorded(change)).differences
    return found[0].sentence if found else ""


def nudge(tensor: torch.Tensor) -> None:
    """Change the last bit of a tensor's first number."""
    with torch.no_grad():
        first = tensor.view(-1)[:1]
        first.copy_(first.view(torch.int32).bitwise_xor(1).view(torch.float32))


def swap(names: list[str]) -> None:
    names[1], names[2] = names[2], names[1]


def test_equal_records_are_the_same_and_everything_in_them_is_counted():
    verdict = same_as.compare(recorded(), recorded())
    tensors, numbers = 2 * 4 + 2 + 2, 2 * 4 + 1  # of two batches, gradients and weights; names of samples and a loss
    assert verdict == ("digits", [], tensors, numbers, 0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda one, task: nudge(one.inputs["image"]), "train/epoch 0/batch 0/image (float32 (4, 2)) has other bits"),
        (lambda one, task: nudge(one.target["soft"]), "train/epoch 0/batch 0/soft (float32 (4, 3)) has other bits"),
        (lambda one, task: swap(one.names), "train/epoch 0/batch 0/name number 1 is 'c' and was 'b'"),
        (lambda one, task: swap(one.indices), "train/epoch 0/batch 0/index (int64 (4,)) has other bits"),
        (lambda one, task: one.target.pop("label"), "train/epoch 0/batch 0/label is missing"),
        (lambda one, task: one.inputs.update(mask=torch.ones(4)), "train/epoch 0/batch 0/mask is new"),
        (lambda one, task: nudge(task.head.weight), "model/head.weight (float32 (3, 2)) has other bits"),
        (lambda one, task: setattr(task, "scale", 1 + 2**-23), "step 0/loss/cross_entropy is "),
    ],
)
def test_one_bit_is_found(change, sentence):
    assert first_difference(change).startswith(sentence)


def altered(name: str, value: Any) -> dict[str, Any]:
    record = copy.deepcopy(recorded())
    record["facts"][name] = value
    return record


@pytest.mark.parametrize("value", [float.fromhex("0x1.8p0") + 2**-52, -0.0, float("nan"), 1, None])
def test_a_number_is_compared_exactly(value):
    name = "step 0/loss/cross_entropy"
    [difference] = same_as.compare(altered(name, 1.5), altered(name, value)).differences
    assert difference.fact == name


def test_nan_is_the_same_as_nan():
    name = "metrics/val after step 3/top1"
    assert not same_as.compare(altered(name, float("nan")), altered(name, float("nan"))).differences


def test_a_batch_as_a_dict_is_recorded_as_one_in_groups():
    one = batch()
    flat = {**one.inputs, **one.target, "name": one.names, "index": torch.tensor(one.indices)}
    first, second = recorder.fields(flat), recorder.fields(one)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first if key != "name")
    assert first["name"] == second["name"]


def test_what_is_met_again_with_other_bits_is_recorded_beside_the_first():
    facts = recorder.Facts()
    for value in (1.0, 1.0, 2.0):
        facts.add("val/epoch 0/batch 0/image", value)
    assert facts == {"val/epoch 0/batch 0/image": 1.0, "val/epoch 0/batch 0/image when met again": 2.0}


def test_a_twin_that_fails_or_is_gone_is_not_the_same():
    failed = recorded() | {"error": "UserError: no such thing"}
    [both] = same_as.compare(recorded(), failed).differences
    assert both.sentence == "fails in this tree: UserError: no such thing"
    assert same_as.compare(failed, failed).differences
    [gone] = same_as.compare(recorded(), None).differences
    assert gone.sentence == "this tree has no such recipe"


def test_tables_map_old_names_to_new_ones(monkeypatch):
    monkeypatch.setattr(same_as, "FACTS", ((r"/trunk\.", "/head."),))
    old = recorded()
    old["facts"] = {name.replace("/head.", "/trunk."): value for name, value in old["facts"].items()}
    assert not same_as.compare(old, recorded()).differences


def test_only_listed_facts_are_exempt_and_never_what_a_run_reads(monkeypatch):
    monkeypatch.setattr(same_as, "EXEMPT", (same_as.Exempt("digits*", "*", "sums in another order"),))
    assert same_as.exempt("digits_simmim", "update 0/gradient/head.weight")
    assert not same_as.exempt("swin_tiny", "update 0/gradient/head.weight")
    for fact in ("", "train/epoch 0/batch 0/image", "val/epoch 0/batch 0/name", "step 3/image", "hash/tiny"):
        assert not same_as.exempt("digits", fact)


def test_near_needs_values_of_a_run_in_fp64():
    def fact(tensor: torch.Tensor, whole: bool = True) -> dict[str, Any]:
        return recorder.Facts(whole)._digest(tensor)

    one = torch.tensor([1.0, -3.0], dtype=torch.float64)
    assert same_as.near(fact(one), fact(one + 1e-13))
    assert not same_as.near(fact(one), fact(one + 1e-11))
    assert not same_as.near(fact(one), fact(one * float("nan")))
    assert not same_as.near(fact(one, False), fact(one + 1e-13, False))
    assert same_as.near(2.0, 2.0 + 1e-13)
    assert not same_as.near(2.0, 2.0 + 1e-11)
    assert not same_as.near("a", "b")


def test_the_exit_status_says_whether_all_is_the_same(capsys):
    fine, wrong = same_as.compare(recorded(), recorded()), same_as.compare(recorded(), altered("summary/top1", 0.5))
    assert same_as.tell([fine], 1) == 0
    assert same_as.tell([fine, wrong], 1) == 1
    assert same_as.tell([], 1) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "1 recipes, 12 tensors, 9 numbers compared in 1 s: all the same"
    assert said[1:3] == [
        "digits: summary/top1 is new",
        "2 recipes, 24 tensors, 18 numbers compared in 1 s: 1 not the same",
    ]


OFF_BY_A_BIT = {  # what Python runs first in a tree: a pixel of each batch, or every loss, in its last bit
    "train/epoch 0/batch 0/image": """
import torch
stack = torch.stack
def off(tensors, *args, **kwargs):
    result = stack(tensors, *args, **kwargs)
    if result.ndim == 4:
        result.view(-1)[:1] = result.view(-1)[:1].nextafter(torch.full((1,), 9.0, dtype=result.dtype))
    return result
torch.stack = off
""",
    "step 0/loss/cross_entropy": """
import torch.nn.functional as F
cross_entropy = F.cross_entropy
F.cross_entropy = lambda *args, **kwargs: cross_entropy(*args, **kwargs) * (1 + 2**-23)
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("fact", ["", *OFF_BY_A_BIT])
def test_a_whole_run_is_the_same_in_a_copy_of_the_tree_unless_a_bit_is_off(fact, tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "copy/src")
    (tmp_path / "copy/src/sitecustomize.py").write_text(OFF_BY_A_BIT.get(fact, ""))
    [verdict] = same_as.judge(same_as.Trees(ROOT, tmp_path / "copy", tmp_path), ["digits"])
    assert verdict.tensors > 500
    assert [each.fact for each in verdict.differences][:1] == ([fact] if fact else [])
