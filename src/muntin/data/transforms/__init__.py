"""What happens to a sample: the settings of a model's inputs, and the changes of training."""

from muntin.data.transforms.augment import Augment as Augment
from muntin.data.transforms.inputs import Inputs as Inputs
from muntin.data.transforms.inputs import PictureInput as PictureInput
from muntin.data.transforms.inputs import inputs_from as inputs_from
from muntin.data.transforms.training import train_transform as train_transform
from muntin.data.transforms.transform import Transform as Transform

__all__ = [
    "Augment",
    "Inputs",
    "PictureInput",
    "Transform",
    "inputs_from",
    "train_transform",
]
