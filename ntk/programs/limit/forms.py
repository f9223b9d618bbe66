"""Which expectations of a program have closed forms, and what each of its quantities depends on: known beforehand."""

import operator

from ntk.programs.language.atoms import (
    MASK_COLUMNS,
    Atom,
    Convolve,
    Dropped,
    Embed,
    Entries,
    Family,
    Gaussian,
    MatMul,
    Nonlin,
    One,
    Rearranged,
    Tap,
)
from ntk.programs.language.graph import Node, reachable
from ntk.programs.language.loops import Body, Loop, Scanned, State, with_bodies
from ntk.programs.language.program import Recording
from ntk.programs.language.scalars import Apply, Constant, Moment, Scalar, Scores, is_number
from ntk.programs.language.vectors import PRODUCT, Vector, single, zeros
from ntk.programs.limit.expectations import Unary


class Forms:
    """What can be said of a recorded program without its inputs.

    Attributes:
        is_exact: Whether every expectation that its kernels need has a closed form, or a quadrature as good.
        is_exact_outside_loops: Whether this is so if the moments of all sampled loops are known.
        sampled_loops: The loops of which a vector has no closed form, in the order of their making.
        drawn: The Gaussian vectors and the masks, in the order of their making.
        has_masks: Whether there is dropout.
        scores: The scores that stay random, in the order of their making.
        couples_inputs: Whether an output depends on the other inputs of the batch.
    """

    def __init__(self, recording: Recording):
        self.recording = recording
        self._unary: dict[Node, tuple[Unary, Vector] | None] = {}
        self._gaussians: dict[Node, frozenset[Gaussian | State]] = {}
        self._entries: dict[Node, frozenset[int]] = {}
        self._centred: set[Atom] = set()
        self._closed: set[Atom] = set()
        self._closed_mean: set[Atom] = set()
        self._zero: set[Node] = set()
        self._unbounded: set[Node] = set()
        self._sampled_families: set[Family] = set()
        self.sampled_loops: list[Loop] = []
        nodes = with_bodies(recording.nodes)
        self._inside = set(nodes) - set(recording.nodes)
        for node in nodes:
            self._learn(node)
        read = [z for side in recording.sides for _, z in (*side.output.vectors, *side.watched.values())]
        moments: list[Vector] = [node.vector for node in recording.nodes if isinstance(node, Moment)]
        self.is_exact_outside_loops = (
            not self._sampled_families
            and all(self.has_closed_form(vector) for vector in read)
            and all(self.has_closed_mean(vector) for vector in moments)
        )
        self.is_exact = self.is_exact_outside_loops and not self.sampled_loops
        self.drawn = [
            node for node in recording.nodes if isinstance(node, Gaussian | Dropped) and not isinstance(node, Tap)
        ]
        self.scores = [node for node in nodes if isinstance(node, Scores)]
        self.has_masks = any(isinstance(node, Dropped) for node in nodes)
        self.has_masks_in_loops = any(isinstance(node, Dropped) for node in self._inside)
        self.couples_inputs = recording.couples_inputs

    def unary(self, atom: Nonlin) -> tuple[Unary, Vector]:
        """The atom as a function of one Gaussian vector, and that vector."""
        form = self._unary[atom]
        assert form is not None
        return form

    def has_closed_form(self, vector: Vector) -> bool:
        """Whether the vector is a linear combination of ones, Gaussian vectors and functions of one of these."""
        return all(atom in self._closed for atom, _ in vector.terms)

    def has_closed_mean(self, vector: Vector) -> bool:
        """Whether it is a linear combination of vectors with closed forms and of products of two of them."""
        return all(atom in self._closed_mean for atom, _ in vector.terms)

    def is_centred(self, atom: Atom) -> bool:
        """Whether it is Gaussian of mean zero: a result of a parameter, or such results at other positions."""
        return atom in self._centred

    def factors(self, atom: Atom) -> tuple[Vector, Vector] | None:
        """The two vectors with closed forms that the atom is the product of."""
        if isinstance(atom, Nonlin) and atom.function is PRODUCT:
            first, second = atom.args
            if isinstance(first, Vector) and isinstance(second, Vector):
                return (first, second) if self.has_closed_form(first) and self.has_closed_form(second) else None
        return None

    def is_sampled(self, family: Family) -> bool:
        """Whether the covariances of a matrix's results are averages over samples.

        They all are if one of them has to be, so that they are positive semi-definite together.
        """
        return family in self._sampled_families

    def gaussians(self, vector: Vector) -> list[Gaussian]:
        """The Gaussian vectors that it is a coordinate-wise function of, in the order of their making."""
        found = frozenset().union(*(self._gaussians[atom] for atom, _ in vector.terms))
        return sorted((each for each in found if isinstance(each, Gaussian)), key=lambda gaussian: gaussian.index)

    def families(self, atom: Atom) -> frozenset[Family]:
        """What the Gaussian vectors that it is a function of belong to."""
        found: set[Family] = set()
        for gaussian in self._gaussians[atom]:
            found |= self._families_of_loop(gaussian.body) if isinstance(gaussian, State) else {gaussian.family}
        return frozenset(found)

    def _families_of_loop(self, body: Body) -> set[Family]:
        """The families of all that a state may be made of."""
        found: set[Family] = set()
        for node in (*body.nodes, *body.reads):
            if isinstance(node, Gaussian):
                found.add(node.family)
            elif isinstance(node, Atom) and not isinstance(node, State):
                found |= self.families(node) if node in body.reads else set()
        return found

    def is_one_loop(self, a: Loop, b: Loop) -> bool:
        """Whether two loops are one, or sampled ones that are one at two lengths (those of each side in order)."""
        if a is b or not self.recording.has_two_shapes or not {a, b} <= set(self.sampled_loops):
            return a is b
        return 2 * abs(self.sampled_loops.index(a) - self.sampled_loops.index(b)) == len(self.sampled_loops)

    def stacked(self, loop: Loop, vector: Vector) -> Vector:
        """A vector that a step of a loop returns, after all steps, whether or not the program reads it."""
        if not vector.terms:
            return zeros(vector.graph, (loop.body.length, *vector.shape))
        node = vector.graph.make(Scanned, loop, loop.body.outs.index(vector))
        if node not in self._gaussians:
            self._learn(node)
        return single(node)

    def composition(self, vector: Vector) -> list[Node]:
        """What the vector is made of, down to its Gaussian vectors and scalars, in the order of their making."""
        return reachable([vector], up_to=(Gaussian, Scalar))

    def may_diverge(self, scalar: Scalar) -> bool:
        """Whether 0 times the scalar may be anything."""
        return scalar in self._unbounded

    def entries(self, node: Node) -> frozenset[int]:
        """The places of the input that it depends on. Those before 0 are of the number of the input's masks."""
        if node not in self._entries:
            masks = frozenset(range(-MASK_COLUMNS, 0)) if isinstance(node, Dropped) else frozenset()
            self._entries[node] = masks.union(*(self._entries[part] for part in node.parts))
        return self._entries[node]

    def _learn(self, node: Node) -> None:
        """What there is to know of a node, from what is known of its parts."""
        self._entries[node] = frozenset(node.entries) if isinstance(node, Embed | Entries) else self.entries(node)
        if isinstance(node, Scalar) and self._diverges(node):
            self._unbounded.add(node)
        elif isinstance(node, Scalar) and self._vanishes(node):
            self._zero.add(node)
        read = _read_by(node)
        outside = node not in self._inside
        if isinstance(node, Gaussian) and isinstance(read, Vector) and outside and not self.has_closed_form(read):
            self._sampled_families.add(node.family)
        if isinstance(node, Loop) and not self._has_closed_steps(node.body):
            self.sampled_loops.append(node)
        if isinstance(node, Nonlin):
            self._unary[node] = self._as_unary(node)
        if isinstance(node, Gaussian | State):
            self._gaussians[node] = frozenset({node})
        elif isinstance(node, Atom | Vector):
            made_of = (node.vector,) if isinstance(node, Scanned) else node.parts
            parts = (self._gaussians.get(part, frozenset()) for part in made_of)
            self._gaussians[node] = frozenset().union(*parts)

        if isinstance(node, Atom):
            self._learn_atom(node)

    def _has_closed_steps(self, body: Body) -> bool:
        """Whether all vectors and scalars of the steps have closed forms, if the states before a step have."""
        means = [node.vector for node in body.nodes if isinstance(node, Moment)]
        read = [_read_by(node) for node in body.nodes if isinstance(node, MatMul | Convolve)]
        vectors = (*body.carries, *body.outs, *(z for z in read if isinstance(z, Vector)))
        return all(map(self.has_closed_form, vectors)) and all(map(self.has_closed_mean, means))

    def _learn_atom(self, atom: Atom) -> None:
        """Maps of positions keep what all their terms are; with masks these are not Gaussian."""
        sampled = isinstance(atom, Scanned) and atom.loop in self.sampled_loops
        parts = None
        if isinstance(atom, Rearranged | Dropped) and not sampled:
            parts = [part for part, _ in atom.vector.terms]
        closed = sampled or isinstance(atom, One | Gaussian | State) or self._unary.get(atom) is not None
        for known, itself in (
            (self._centred, isinstance(atom, Gaussian)),
            (self._closed, closed),
            (self._closed_mean, closed or self.factors(atom) is not None),
        ):
            if isinstance(atom, Dropped) and known is self._centred:
                continue
            if itself if parts is None else known.issuperset(parts):
                known.add(atom)

    def _vanishes(self, scalar: Scalar) -> bool:
        """Whether the scalar is 0 in the limit, whatever the inputs: the mean of a Gaussian vector, say."""
        if isinstance(scalar, Moment):
            return all(
                factor in self._zero or (self.is_centred(atom) and not self.may_diverge(factor))
                for atom, factor in scalar.vector.terms
            )
        if isinstance(scalar, Apply):
            zeros = [arg in self._zero for arg in scalar.args]
            if scalar.fn in (operator.add, operator.sub):
                return all(zeros)
            if scalar.fn is operator.mul:
                return any(zeros)
            # 0/θ is 0 where θ is known not to be: of two quantities that vanish the ratio may have any limit.
            if scalar.fn is operator.truediv:
                divisor = scalar.args[1]
                return zeros[0] and isinstance(divisor, Constant) and not is_number(divisor, 0.0)
            return False
        return is_number(scalar, 0.0)

    def _diverges(self, scalar: Scalar) -> bool:
        """Whether it is made of a function, such as 1/θ, of something that vanishes."""
        if isinstance(scalar, Moment):
            return False
        if isinstance(scalar, Apply) and scalar.fn not in (operator.add, operator.sub, operator.mul):
            looked_at = scalar.args[1:] if scalar.fn is operator.truediv else scalar.args
            if any(arg in self._zero for arg in looked_at):
                return True
        return any(part in self._unbounded for part in scalar.parts)

    def _as_unary(self, node: Nonlin) -> tuple[Unary, Vector] | None:
        if len(node.args) != 1 or not isinstance(node.args[0], Vector):
            return None
        shift, gaussian = 0.0, []
        for atom, factor in node.args[0].terms:
            if self.is_centred(atom):
                gaussian.append((atom, factor))
            elif isinstance(atom, One) and isinstance(factor, Constant):
                shift += factor.value
            elif not (isinstance(atom, One) and factor in self._zero):
                return None
        base = node.graph.make(Vector, tuple(gaussian), node.shape)
        self._gaussians[base] = frozenset().union(*(self._gaussians[atom] for atom, _ in gaussian))
        return self.recording.once(Unary, node.function, shift), base


def _read_by(node: Node) -> Vector | Entries | None:
    """What a matrix or a convolution is applied to."""
    return node.vector if isinstance(node, MatMul) else node.source if isinstance(node, Convolve) else None
