import torch
from torch import nn

from muntin.data import Digits, Loader, Preprocess, Subset, eval_transform
from muntin.predict import evaluate

PREPROCESS = Preprocess(image_size=(8, 8), crop_ratio=0.0, mean=(0.5,), std=(0.5,))


def test_evaluation_counts_every_sample_once_and_keeps_the_mode():
    torch.manual_seed(0)
    source = Subset(Digits("val"), list(range(0, 1000, 43)))
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).train()
    result = evaluate(model, Loader(source, eval_transform(PREPROCESS), batch_size=5), num_classes=10)
    assert model.training
    assert result.samples == len(source) == 24

    right, to_tensor = 0, PREPROCESS.transform()
    for index in range(len(source)):
        sample = source.read(index)
        with torch.no_grad():
            right += model(to_tensor(sample.image)[None]).argmax().item() == sample.label
    assert result.top1 == right / 24
