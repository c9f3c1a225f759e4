"""Simulated lives: the real engine on a virtual clock, while everything around it goes wrong as a seed wants.

`simulate` is for tests of processors; `World` and `Plan` are for whoever wants to look inside. Nothing else in streamkit imports this.
"""

from streamkit.testing.simulation.ledger import RULES, Broken
from streamkit.testing.simulation.plan import Plan, Step
from streamkit.testing.simulation.run import Report, SimulationFailed, simulate, subject_of
from streamkit.testing.simulation.subject import Subject
from streamkit.testing.simulation.trouble import KINDS
from streamkit.testing.simulation.world import World

__all__ = ["KINDS", "RULES", "Broken", "Plan", "Report", "SimulationFailed", "Step", "Subject", "World", "simulate", "subject_of"]
