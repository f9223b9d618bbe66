"""Networks as tensor programs, a few lines each: read them with `infinite`, `finite` and `check_gia`."""

from ntk.programs.architectures.attention import self_attention, transformer
from ntk.programs.architectures.batch_normalized import batch_norm_mlp
from ntk.programs.architectures.blocks import group_norm, layer_norm, rms_norm
from ntk.programs.architectures.convolutional import cnn_1d, cnn_2d
from ntk.programs.architectures.deep_convolutional import densenet, wide_resnet
from ntk.programs.architectures.feedforward import deep_equilibrium, mlp, residual_mlp, tied_mlp
from ntk.programs.architectures.gated import gru, layer_norm_gated_rnn, lstm
from ntk.programs.architectures.graphs import gcn
from ntk.programs.architectures.mixer import mlp_mixer
from ntk.programs.architectures.mixtures import mixture
from ntk.programs.architectures.recurrent import bidirectional_rnn, rnn
from ntk.programs.architectures.state_spaces import state_space

__all__ = [
    "batch_norm_mlp",
    "bidirectional_rnn",
    "cnn_1d",
    "cnn_2d",
    "deep_equilibrium",
    "densenet",
    "gcn",
    "group_norm",
    "gru",
    "layer_norm",
    "layer_norm_gated_rnn",
    "lstm",
    "mixture",
    "mlp",
    "mlp_mixer",
    "residual_mlp",
    "rms_norm",
    "rnn",
    "self_attention",
    "state_space",
    "tied_mlp",
    "transformer",
    "wide_resnet",
]
