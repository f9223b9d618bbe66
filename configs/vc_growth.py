r"""Growth functions counted, shattering drawn, and the symmetrization of the Rademacher bound simulated.

    python -m experiments.vc_growth --config=configs/vc_growth.py --workdir=runs/vc_growth

Takes less than a minute on 2 CPU cores. Half-planes should make 14 dichotomies of four points and 22 of five.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # The most points whose dichotomies by affine half-spaces are counted, in one, two and three dimensions.
    config.max_points = (14, 12, 9)
    # A ReLU network in the plane whose dichotomies are counted by training: its width, the largest number of points,
    # the steps of Adam, and the number of networks for each pattern of signs.
    config.network = ConfigDict({"width": 4, "max_points": 7, "steps": 400, "restarts": 16})
    # Random placements of every number of points.
    config.num_placements = 5
    # Sample sizes m at which the chain E sup(E − Ê) ≤ 2 R_m is simulated.
    config.sample_sizes = (4, 8, 16, 32, 64, 128, 256)
    # Samples for each size.
    config.num_draws = 2000
    # Share of labels that are flipped.
    config.noise = 0.1
    # Seed of the points, the network and the samples.
    config.seed = 0
    return config
