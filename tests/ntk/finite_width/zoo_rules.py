"""The rule of every leaf of the model zoo, as it has to be with every JAX that is promised.

Of each model: "rule in `empirical_ntk`: where it is used, read by Gram matrices" → the paths of its leaves.
"""

RULES = {
    "tied_autoencoders": {
        "gram: sum": ["b", "c"],
        "gradient: 2 × product": ["u"],
        "gram: product": ["v"],
        "jacobian": ["gain", "w"],
    },
    "dense": {
        "gram: product, sum": [
            "params/layers_0/bias",
            "params/layers_0/kernel",
            "params/layers_2/bias",
            "params/layers_2/kernel",
            "params/layers_4/bias",
            "params/layers_4/kernel",
        ],
    },
    "attention": {
        "gram: product, sum": ["params/Dense_0/bias", "params/Dense_0/kernel"],
        "gradient: sum": ["params/LayerNorm_0/bias", "params/LayerNorm_1/bias"],
        "gradient: product, sum": [
            "params/MultiHeadDotProductAttention_0/key/bias",
            "params/MultiHeadDotProductAttention_0/key/kernel",
            "params/MultiHeadDotProductAttention_0/out/bias",
            "params/MultiHeadDotProductAttention_0/out/kernel",
            "params/MultiHeadDotProductAttention_0/query/bias",
            "params/MultiHeadDotProductAttention_0/query/kernel",
            "params/MultiHeadDotProductAttention_0/value/bias",
            "params/MultiHeadDotProductAttention_0/value/kernel",
            "params/MultiHeadDotProductAttention_1/key/bias",
            "params/MultiHeadDotProductAttention_1/key/kernel",
            "params/MultiHeadDotProductAttention_1/out/bias",
            "params/MultiHeadDotProductAttention_1/out/kernel",
            "params/MultiHeadDotProductAttention_1/query/bias",
            "params/MultiHeadDotProductAttention_1/query/kernel",
            "params/MultiHeadDotProductAttention_1/value/bias",
            "params/MultiHeadDotProductAttention_1/value/kernel",
        ],
        "jacobian": ["params/LayerNorm_0/scale", "params/LayerNorm_1/scale"],
    },
    "convolutions": {
        "gradient: sum": ["params/BatchNorm_0/bias", "params/Conv_1/bias"],
        "gradient: convolution, sum": [
            "params/ConvTranspose_0/bias",
            "params/ConvTranspose_0/kernel",
            "params/Conv_0/bias",
            "params/Conv_0/kernel",
        ],
        "gradient: convolution": ["params/Conv_1/kernel", "params/Conv_2/kernel"],
        "gram: product, sum": ["params/Dense_0/bias", "params/Dense_0/kernel"],
        "jacobian": ["params/BatchNorm_0/scale"],
        "constant": ["batch_stats/BatchNorm_0/mean", "batch_stats/BatchNorm_0/var"],
    },
    "gru": {
        "gram: product, sum": ["params/Dense_0/bias", "params/Dense_0/kernel"],
        "gradient: product, sum": [
            "params/cell/hn/bias",
            "params/cell/hn/kernel",
            "params/cell/in/bias",
            "params/cell/in/kernel",
        ],
        "gradient: 2 × product, sum": [
            "params/cell/hr/kernel",
            "params/cell/hz/kernel",
            "params/cell/ir/bias",
            "params/cell/ir/kernel",
            "params/cell/iz/bias",
            "params/cell/iz/kernel",
        ],
    },
    "lstm": {
        "gram: product, sum": ["params/Dense_0/bias", "params/Dense_0/kernel"],
        "gradient: product": [
            "params/cell/hf/kernel",
            "params/cell/hg/kernel",
            "params/cell/hi/kernel",
            "params/cell/ho/kernel",
            "params/cell/if/kernel",
            "params/cell/ig/kernel",
            "params/cell/ii/kernel",
            "params/cell/io/kernel",
        ],
        "jacobian": ["params/cell/hf/bias", "params/cell/hg/bias", "params/cell/hi/bias", "params/cell/ho/bias"],
    },
    "tied": {
        "gram: product, sum": ["params/Dense_0/bias", "params/Dense_0/kernel"],
        "jacobian": ["params/Embed_0/embedding"],
    },
    "embedded": {
        "gram: product, sum": ["params/Dense_0/bias", "params/Dense_0/kernel"],
        "gradient: product, sum": ["params/Dense_1/bias", "params/Dense_1/kernel"],
        "jacobian: lookup": ["params/Embed_0/embedding", "params/Embed_1/embedding"],
    },
    "nnx": {
        "gradient: convolution, sum": ["conv/bias", "conv/kernel"],
        "gradient: sum": ["group/bias", "norm/bias"],
        "gram: product, sum": ["out/bias", "out/kernel"],
        "jacobian": ["group/scale", "norm/scale"],
        "constant": ["norm/mean", "norm/var"],
    },
    "stacked_layers": {
        "gradient: sum": ["layers/b"],
        "gradient: product": ["layers/w"],
        "gradient: 2 × product": ["shared"],
        "gram: product": ["v"],
    },
    "nested_scans": {
        "gradient: product": ["u", "w"],
        "gram: product": ["v"],
    },
    "branches": {
        "gram: product": ["v"],
        "gradient: 3 × product": ["w"],
    },
    "wrapped": {
        "gradient: 4 × product": ["w"],
        "jacobian": ["v"],
    },
    "views": {
        "gram: product": ["flat", "qkv"],
        "jacobian": ["gain", "half", "square", "thin"],
    },
    "escapes": {
        "jacobian": ["masked", "v", "w"],
    },
    "einsums": {
        "gradient: product": ["each", "heads", "merge"],
    },
    "ensemble": {
        "gradient: product": ["v"],
        "gram: product": ["w"],
    },
    "side_by_side": {
        "gram: product": ["k", "q", "w"],
        "gradient: 2 × product": ["v"],
        "jacobian": ["b", "c", "s", "t"],
    },
    "row_lookups": {
        "jacobian: lookup": ["clipped", "filled"],
    },
    "scaled_lookups": {
        "gradient: sum": ["b"],
        "jacobian: 3 × lookup": ["e"],
        "jacobian: 2 × lookup": ["f"],
    },
    "joined_alone": {
        "gradient: 5 × product": ["i", "o"],
    },
    "printed": {
        "gradient: product": ["v"],
        "gradient: 2 × product": ["w"],
    },
    "other_ranks": {
        "gradient: convolution": ["k1", "k3"],
    },
}
