from .backbone import Backbone as Backbone
from .backbone import Encoder as Encoder
from .backbone import Features as Features
from .beit import BEiT as BEiT
from .beit import BEiTConfig as BEiTConfig
from .convnext import ConvNeXt as ConvNeXt
from .convnext import ConvNeXtConfig as ConvNeXtConfig
from .cvt import CvT as CvT
from .cvt import CvTConfig as CvTConfig
from .deit import DeiT as DeiT
from .deit import DeiT3 as DeiT3
from .deit import DeiT3Config as DeiT3Config
from .deit import DeiTConfig as DeiTConfig
from .swin import Swin as Swin
from .swin import SwinConfig as SwinConfig
from .swin_v2 import SwinV2 as SwinV2
from .swin_v2 import SwinV2Config as SwinV2Config
from .vit import ViT as ViT
from .vit import ViTConfig as ViTConfig
from .vit_hybrid import HybridViT as HybridViT
from .vit_hybrid import HybridViTConfig as HybridViTConfig

__all__ = [
    "BEiT",
    "BEiTConfig",
    "Backbone",
    "ConvNeXt",
    "ConvNeXtConfig",
    "CvT",
    "CvTConfig",
    "DeiT",
    "DeiT3",
    "DeiT3Config",
    "DeiTConfig",
    "Encoder",
    "Features",
    "HybridViT",
    "HybridViTConfig",
    "Swin",
    "SwinConfig",
    "SwinV2",
    "SwinV2Config",
    "ViT",
    "ViTConfig",
]
