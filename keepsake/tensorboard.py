"""The writer in the shape of TensorBoard's, under a short name."""

from keepsake.integrations.tensorboard import SummaryWriter

__all__ = ["SummaryWriter"]
