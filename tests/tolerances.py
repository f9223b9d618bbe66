"""How near a number must come to what it is compared with: relative errors by dtype.

Rows from the tightest to the widest. A test that needs another tolerance derives it where it stands.
"""

# One operation that may be rounded in another way, or twice: some four ε, of 2.2e-16.
LAST_DIGITS = {"float64": 1e-15}
# The same formula of a dozen operations. Each exp and log has an error of a few ε.
SAME_FORMULA = {"float64": 1e-14, "float32": 1e-6}
# The same sums and products of some hundred terms in another order.
REORDERED = {"float64": 1e-13, "float32": 3e-6}
# The same closed form in another arrangement, at most some ten thousand roundings of ε = 1.1e-16 or 6e-8 that add up
# like a random walk.
CLOSED_FORM = {"float64": 1e-12, "float32": 1e-5}
# A formula that loses digits of its own, such as neural-tangents' arccosine beside ±1 or a quadrature of 1e-10.
PEER = {"float64": 1e-10, "float32": 1e-5}
# Linear systems, spectra and roots: a rounding ε times condition numbers of up to some million.
SOLVED = {"float64": 1e-9}
# What maps without a closed form promise up to a variance of 10.
QUADRATURE = {"float64": 1e-8}
# Training of a kernel in closed form and by an integrator, which errs by 1e-10 a step over some hundred steps.
FLOW = {"float64": 1e-8}
# Derivatives of kernels: a closed form divides by √(1 − ρ²), which costs up to half of the digits.
DERIVATIVE = {"float64": 1e-8, "float32": 3e-3}
# Central differences of step h = 1e-5: h² times third derivatives of up to some hundred, and ε/h times what cancels.
DIFFERENCE = {"float64": 1e-7}
