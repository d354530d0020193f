"""The circuit of one server, against a model of it, on a clock that tests move."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from mcp_orchestra.connection.circuit import FIRST_SECONDS, LONGEST_SECONDS, Circuit


class CircuitMachine(RuleBasedStateMachine):
    """Requests begin and end in any order while time passes; the model is told in the rules and invariants."""

    tickets = Bundle("tickets")

    @initialize(threshold=st.integers(1, 7))
    def begin(self, threshold):
        self.now = 0.0
        self.random = 0.0
        self.threshold = threshold
        self.circuit = Circuit(threshold, lambda: self.now, lambda: self.random)
        self.in_a_row = 0
        self.probes = set()
        self.era = 0  # counts openings and closings
        self.eras = {}
        self.pause = 0.0
        self.closed_at = float("-inf")

    @rule(seconds=st.floats(0, 40), random=st.floats(0, 1, exclude_max=True))
    def time_passes(self, seconds, random):
        self.now += seconds
        self.random = random

    @rule(target=tickets, early=st.booleans())
    def a_request_comes(self, early):
        was_open, due = self.circuit.open, self.circuit.due
        until = self.circuit.until
        ticket = self.circuit.admit(early=early)
        if not was_open:
            assert ticket is not None
        elif self.probes:
            assert ticket is None  # one probe at a time
            assert not due
        else:
            assert (ticket is not None) == (early or due)
            assert due == (self.now >= until)
            if ticket is not None:
                self.probes.add(ticket)
        if ticket is not None:
            self.eras[ticket] = self.era
        return ticket

    @rule(ticket=consumes(tickets), worked=st.sampled_from([True, False, None]))
    def a_request_ends(self, ticket, worked):
        if ticket is None:
            return
        was_open, probe = self.circuit.open, ticket in self.probes
        self.probes.discard(ticket)
        self.circuit.settle(ticket, worked)
        if worked:
            self.closes(was_open)
        elif worked is False and self.eras[ticket] == self.era and (probe or not was_open):
            self.in_a_row += 1
            if probe or self.in_a_row >= self.threshold:
                self.opens(probe)
        assert self.circuit.open == (self.pause_is_on)

    pause_is_on = False

    def closes(self, was_open):
        self.in_a_row = 0
        self.probes.clear()
        self.pause_is_on = False
        if was_open:
            self.era += 1
            self.closed_at = self.now

    def opens(self, probe):
        if not probe:
            self.era += 1
            if self.now - self.closed_at >= LONGEST_SECONDS:
                self.pause = 0.0
        self.pause = min(self.pause * 2 or FIRST_SECONDS, LONGEST_SECONDS)
        self.pause_is_on = True
        wait = self.circuit.until - self.now
        assert self.pause / 2 - 1e-6 <= wait <= self.pause + 1e-6

    @rule()
    def the_server_is_connected_anew(self):
        was_open = self.circuit.open
        self.circuit.close()
        self.closes(was_open)

    @invariant()
    def failures_are_those_since_the_last_success(self):
        assert self.circuit.failures == self.in_a_row
        if not self.circuit.open:
            assert self.circuit.failures < self.threshold

    @invariant()
    def a_probe_is_under_way_only_while_it_is_open(self):
        assert self.circuit.probing == bool(self.probes)
        assert self.circuit.open or not self.circuit.probing


CircuitMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_the_circuit_does_as_its_model = CircuitMachine.TestCase


def failing(circuit, times):
    for _ in range(times):
        circuit.settle(circuit.admit(early=True), False)


def test_the_pause_doubles_with_each_failed_probe_up_to_half_a_minute():
    now = [0.0]
    circuit = Circuit(3, lambda: now[0], lambda: 1.0)
    failing(circuit, 3)
    pauses = []
    for _ in range(8):
        pauses.append(circuit.until - now[0])
        now[0] = circuit.until
        failing(circuit, 1)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_what_was_asked_before_it_closed_cannot_open_it_again():
    """Fifty requests hang; five end and open it; a probe works; the others end without an answer one by one."""
    circuit = Circuit(5, lambda: 0.0)
    hanging = [circuit.admit() for _ in range(50)]
    for ticket in hanging[:5]:
        circuit.settle(ticket, False)
    assert circuit.open
    circuit.settle(circuit.admit(early=True), True)
    for ticket in hanging[5:]:
        circuit.settle(ticket, False)
    assert (circuit.open, circuit.failures) == (False, 0)
