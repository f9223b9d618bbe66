"""Training dynamics and kernel regression: what a kernel says about training (theory.md 6.1 to 6.12).

- Squared loss in closed form: `squared_loss_flow`, `squared_loss_descent`.
- The distribution of trained networks over random initializations: `squared_loss_ensemble`.
- Any other loss: `loss_flow`, `loss_descent`.
- Training in weight space: `train`, and `parameterized_model` for other parameterizations.
- Gaussian processes: `gp_posterior`, `log_marginal_likelihood`.
- What the spectrum of a kernel means: `max_learning_rate`, `condition_report`.
- Kernels that are too large to factor: `conjugate_gradients`, `nystrom_preconditioner`.
"""

from ntk.dynamics.ensembles import SquaredLossEnsemble, squared_loss_ensemble
from ntk.dynamics.gaussian import Gaussian, GaussianProcess, gp_posterior, log_marginal_likelihood
from ntk.dynamics.linear_algebra.iterative import Solution, conjugate_gradients, nystrom_preconditioner
from ntk.dynamics.loss_descents import loss_descent
from ntk.dynamics.loss_flows import LossFlowPredictor, loss_flow
from ntk.dynamics.parameterizations import ParameterizedModel, parameterized_model
from ntk.dynamics.predictors import Prediction, SquaredLossPredictor
from ntk.dynamics.squared_loss import squared_loss_descent, squared_loss_flow
from ntk.dynamics.stability import ConditionReport, condition_report, max_learning_rate
from ntk.dynamics.weight_space import Trajectory, train

__all__ = [
    "ConditionReport",
    "Gaussian",
    "GaussianProcess",
    "LossFlowPredictor",
    "ParameterizedModel",
    "Prediction",
    "Solution",
    "SquaredLossEnsemble",
    "SquaredLossPredictor",
    "Trajectory",
    "condition_report",
    "conjugate_gradients",
    "gp_posterior",
    "log_marginal_likelihood",
    "loss_descent",
    "loss_flow",
    "max_learning_rate",
    "nystrom_preconditioner",
    "parameterized_model",
    "squared_loss_descent",
    "squared_loss_ensemble",
    "squared_loss_flow",
    "train",
]
