"""Quantities that are computed when they are asked for, each once, without Python's limit on recursion.

A rule is a generator: it yields a list of keys, each a rule with its arguments, and is sent their values back; or it
yields a `Call` and is sent its result; in the end it returns its own value. Calls of one function that wait at the same
time are done as one, on stacked arguments: all pairs of times of a recurrent network that are ready, say.
"""

from collections import deque
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import PyTree

Key = tuple[Hashable, ...]


class Call(NamedTuple):
    """A function of arrays that broadcasts over leading axes, and what it is applied to."""

    fn: Callable[..., PyTree]
    args: tuple[PyTree, ...]


Rule = Generator[Sequence[Key] | Call, PyTree, PyTree]


@dataclass(eq=False)
class _Task:
    key: Key
    rule: Rule
    needs: Sequence[Key] = ()
    missing: int = 0


class Demand:
    """The values that have been asked for so far."""

    def __init__(self) -> None:
        self.values: dict[Key, PyTree] = {}

    def __call__(self, *goals: Key) -> list[PyTree]:
        """The values of these keys."""
        waiting: dict[Key, list[_Task]] = {}
        ready: deque[tuple[_Task, PyTree]] = deque()
        calls: dict[Hashable, list[tuple[_Task, Call]]] = {}

        def start(key: Key) -> None:
            waiting[key] = []
            fn, *args = key
            ready.append((_Task(key, fn(*args)), None))  # type: ignore[operator]

        def wait_for(task: _Task, needs: Sequence[Key]) -> None:
            missing = {key for key in needs if key not in self.values}
            task.needs, task.missing = needs, len(missing)
            for key in missing:
                if key not in waiting:
                    start(key)
                waiting[key].append(task)
            if not missing:
                ready.append((task, [self.values[key] for key in needs]))

        def finish(task: _Task, value: PyTree) -> None:
            self.values[task.key] = value
            for other in waiting.pop(task.key):
                other.missing -= 1
                if not other.missing:
                    ready.append((other, [self.values[key] for key in other.needs]))

        for goal in goals:
            if goal not in self.values and goal not in waiting:
                start(goal)
        while ready or calls:
            while ready:
                task, value = ready.popleft()
                try:
                    request = task.rule.send(value)
                except StopIteration as result:
                    finish(task, result.value)
                    continue
                if isinstance(request, Call):
                    shapes = tuple(jnp.shape(leaf) for leaf in jax.tree.leaves(request.args))
                    calls.setdefault((request.fn, shapes), []).append((task, request))
                else:
                    wait_for(task, request)
            if calls:
                alike = calls.pop(next(iter(calls)))
                results = _together([call for _, call in alike])
                ready.extend((task, result) for (task, _), result in zip(alike, results, strict=True))
        return [self.values[goal] for goal in goals]


def _together(calls: list[Call]) -> list[PyTree]:
    """The results of calls of one function with arguments of the same shapes."""
    fn = calls[0].fn
    if len(calls) == 1:
        return [_apart(fn, calls[0].args)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(call.args for call in calls))
    results = lax.map(lambda args: fn(*args), stacked)
    return [jax.tree.map(lambda leaf: leaf[number], results) for number in range(len(calls))]  # noqa: B023


def _apart(fn: Callable[..., PyTree], args: tuple[PyTree, ...]) -> PyTree:
    """fn(*args), as one branch of two, of which the other is never taken.

    A branch has its results once; in the open, XLA would compute them again within all that uses them.
    """
    shapes = jax.eval_shape(fn, *args)
    first = jax.tree.leaves(args)[0].ravel()[0]
    bits = lax.bitcast_convert_type(first, f"uint{8 * first.dtype.itemsize}")
    # A NaN that no arithmetic returns: to XLA a condition as any other.
    never = jnp.array(np.iinfo(bits.dtype).max, bits.dtype)

    def missing(*_: PyTree) -> PyTree:
        return jax.tree.map(lambda result: jnp.full(result.shape, jnp.nan, result.dtype), shapes)

    return lax.cond(bits != never, fn, missing, *args)
