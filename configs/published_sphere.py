r"""Learning curves of the NTK on a sphere, predicted and simulated (Bordelon et al. 2020, arXiv:2002.02561).

    python -m experiments.published --config=configs/published_sphere.py --workdir=runs/published_sphere

Takes about two minutes on 2 CPU cores. About 175 of the 180 simulated errors should lie within three standard errors
of the prediction. With `--config.data_dir=DIR`, and the paper's files in DIR/sphere, its errors are compared too.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # The study of `experiments.published`.
    config.study = "sphere"
    # A folder with sphere/all_errs_lamb0.000000_d10.csv and three more files. Empty: no published errors.
    config.data_dir = ""
    # Dimensions of the inputs. The paper has 10 and 100.
    config.dims = (10, 100)
    # Numbers of samples.
    config.sizes = (1, 2, 4, 6, 10, 17, 26, 42, 66, 104, 163, 257, 404, 636, 1000)
    # Draws of the points and of the teacher.
    config.num_draws = 50
    # Seed of the draws.
    config.seed = 0
    return config
