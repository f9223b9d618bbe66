"""How many dichotomies a class makes: growth functions, VC bounds, dichotomies and shattered sets."""
