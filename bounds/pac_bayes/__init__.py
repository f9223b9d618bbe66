"""The risk of a hypothesis drawn from a posterior, by its relative entropy from a prior."""
