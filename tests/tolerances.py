"""How near a number must come to what it is compared with: relative errors by dtype.

A test that needs another tolerance derives it where it stands.
"""

# The same closed form in another arrangement, at most some ten thousand roundings of ε = 1.1e-16 or 6e-8 that add up
# like a random walk.
CLOSED_FORM = {"float64": 1e-12, "float32": 1e-5}
# A formula that loses digits of its own, such as neural-tangents' arccosine beside ±1 or a quadrature of 1e-10.
PEER = {"float64": 1e-10, "float32": 1e-5}
# Derivatives of kernels: a closed form divides by √(1 − ρ²), which costs up to half of the digits.
DERIVATIVE = {"float64": 1e-8, "float32": 3e-3}
