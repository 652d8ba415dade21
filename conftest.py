"""One thread: the tests are small, and several of them may share the cores."""

import torch

torch.set_num_threads(1)
