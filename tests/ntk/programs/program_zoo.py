"""Small programs that the tests read, beside those of `ntk.programs.architectures`."""

from ntk.programs import tensor_program
from ntk.programs.architectures import layer_norm


@tensor_program
def mlp(net, x, *, depth=3, activation="relu", w_std=1.3, b_std=0.3, v_std=0.7):
    phi = net.phi(activation)
    z = phi(net.watch("h1", net.input_matrix("w1", w_std) @ x + net.bias("b1", b_std)))
    for layer in range(2, depth + 1):
        z = phi(net.watch(f"h{layer}", net.matrix(f"w{layer}", w_std) @ z + net.bias(f"b{layer}", b_std)))
    return net.output("v", v_std) @ z


@tensor_program
def layer_norm_mlp(net, x):
    h = net.input_matrix("w1", 1.2) @ x + net.bias("b1", 0.4)
    z = net.phi("relu")(layer_norm(net, h, 1e-3))
    h = net.matrix("w2", 0.9) @ layer_norm(net, z, 1e-3)
    return net.output("v", 1.1) @ net.phi("relu")(h)


@tensor_program
def residual(net, x, *, depth=2, activation="erf"):
    z = net.input_matrix("u") @ x
    for layer in range(depth):
        z = z + net.matrix(f"w{layer}", 0.8) @ net.phi(activation)(z)
    return net.output("v", 1.1) @ (z + net.phi(activation)(z))


@tensor_program
def gated(net, x, *, std=1.0):
    """One layer of gates: everything about it is known in closed form."""
    u, w = net.watch("u", net.input_matrix("U", std) @ x), net.input_matrix("W", 0.8) @ x
    return net.output("v", 1.2) @ (net.phi("erf")(u) * w)
