from .features import Backbone as Backbone
from .features import Features as Features
from .swin import Swin as Swin
from .swin import SwinConfig as SwinConfig
from .swin_v2 import SwinV2 as SwinV2
from .swin_v2 import SwinV2Config as SwinV2Config

__all__ = ["Backbone", "Features", "Swin", "SwinConfig", "SwinV2", "SwinV2Config"]
