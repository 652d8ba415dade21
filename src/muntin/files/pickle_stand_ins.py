"""Inert stand-ins for the objects that weights files carry beside their tensors: configurations, arguments, numbers.

Official Swin files hold the CfgNode of their training, others an argparse.Namespace or an mmcv Config. The weights do
not need them, so muntin never looks for these classes: a stand-in takes the place of each name, accepts what the pickle
hands it and keeps nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

MAPPINGS = (  # subclasses of dict: the pickle fills them item by item
    "yacs.config.CfgNode",
    "fvcore.common.config.CfgNode",
    "detectron2.config.config.CfgNode",
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "addict.addict.Dict",
    "easydict.EasyDict",
    "collections.defaultdict",
)
OBJECTS = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    "mmcv.utils.config.Config",
    "mmengine.config.config.Config",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.nodes.AnyNode",
    "typing.Any",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.ndarray",
    "numpy.dtype",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "pathlib.PureWindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
    "datetime.datetime",
    "datetime.timedelta",
    "builtins.dict",
    "builtins.list",
    "builtins.int",
    "builtins.float",
    "builtins.slice",
    "builtins.range",
)


class _Inert:
    """Takes the place of any object."""

    def __init__(self, *given: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _InertMapping:
    """Takes the place of a subclass of dict; what it makes is an OrderedDict, which may be filled."""

    def __new__(cls, *given: Any) -> OrderedDict:  # type: ignore[misc]
        return OrderedDict()


# as torch.serialization.safe_globals takes them
STAND_INS: list[Any] = [(_InertMapping, name) for name in MAPPINGS] + [(_Inert, name) for name in OBJECTS]
