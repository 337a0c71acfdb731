"""The kernel: handed events, hands back commands. See ``holdfast.kernel.kernel``."""

from holdfast.kernel.kernel import Kernel
from holdfast.kernel.settings import KernelSettings

__all__ = ["Kernel", "KernelSettings"]
