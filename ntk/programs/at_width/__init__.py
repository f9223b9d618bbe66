"""The recorded graph read at width n: parameters, the forward pass, kernels measured layer by layer."""
