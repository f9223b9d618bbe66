"""Networks as tensor programs, a few lines each: read them with `infinite`, `finite` and `check_gia`."""

from ntk.programs.architectures.attention import self_attention, transformer
from ntk.programs.architectures.batch_normalized import batch_norm_mlp
from ntk.programs.architectures.blocks import layer_norm
from ntk.programs.architectures.convolutional import cnn_1d, cnn_2d
from ntk.programs.architectures.feedforward import mlp, residual_mlp, tied_mlp
from ntk.programs.architectures.gated import gru, layer_norm_gated_rnn, lstm
from ntk.programs.architectures.mixtures import mixture
from ntk.programs.architectures.recurrent import bidirectional_rnn, rnn

__all__ = [
    "batch_norm_mlp",
    "bidirectional_rnn",
    "cnn_1d",
    "cnn_2d",
    "gru",
    "layer_norm",
    "layer_norm_gated_rnn",
    "lstm",
    "mixture",
    "mlp",
    "residual_mlp",
    "rnn",
    "self_attention",
    "tied_mlp",
    "transformer",
]
