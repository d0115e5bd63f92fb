"""The table of phases."""

import logging

import pytest

from wsctl.drain.phases import MOVES, IllegalMove, Phase, PhaseMachine

ROADS: dict[Phase, tuple[Phase, ...]] = {
    Phase.STARTING: (),
    Phase.SERVING: (Phase.SERVING,),
    Phase.LAMEDUCK: (Phase.SERVING, Phase.LAMEDUCK),
    Phase.HANDOVER: (Phase.SERVING, Phase.HANDOVER),
    Phase.DRAINING: (Phase.SERVING, Phase.DRAINING),
    Phase.CLOSING: (Phase.SERVING, Phase.DRAINING, Phase.CLOSING),
    Phase.STOPPED: (Phase.STOPPED,),
}
"""How each phase is reached from the start."""


def _in(phase: Phase) -> PhaseMachine:
    life = PhaseMachine()
    for step in ROADS[phase]:
        life.move(step)
    assert life.phase is phase
    return life


@pytest.mark.parametrize("to", Phase)
@pytest.mark.parametrize("phase", Phase)
def test_a_move_of_the_table_is_made_and_any_other_raises(phase: Phase, to: Phase) -> None:
    life = _in(phase)
    if to in MOVES[phase]:
        life.move(to)
        assert life.phase is to
    else:
        with pytest.raises(IllegalMove):
            life.move(to)
        assert life.phase is phase


def test_nothing_comes_after_the_end_and_no_phase_is_its_own_successor() -> None:
    assert set(MOVES) == set(Phase)
    assert not MOVES[Phase.STOPPED]
    assert not [phase for phase in Phase if phase in MOVES[phase]]


def test_every_phase_leads_to_the_end() -> None:
    ends = {Phase.STOPPED}
    for _ in Phase:
        ends |= {phase for phase in Phase if MOVES[phase] & ends}
    assert ends == set(Phase)


def test_each_move_is_logged_once_as_it_is_spelled_outside(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "wsctl.life"):
        _in(Phase.DRAINING)
    assert [record.__dict__["fields"] for record in caplog.records] == [
        {"was": "starting", "now": "serving"},
        {"was": "serving", "now": "draining"},
    ]
