# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One table of parameters: what it says is what the file, the README and the planners say."""

import math
import weakref
from collections import Counter
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from grasp_ros.control.controller import ControllerConfig
from grasp_ros.control.gate import GateConfig
from grasp_ros.errors import ConfigError, ModelError
from grasp_ros.node import parameters, tables
from grasp_ros.planners.registry import PLANNERS, settings_of
from grasp_ros.world_models.jepa import Jepa

ROOT = Path(__file__).resolve().parents[1]
ALL = [parameter for table in tables.TABLES.values() for parameter in table]


def flat(tree, prefix=''):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f'{prefix}{name}.')
        else:
            yield prefix + name, value


def test_names_are_unique_over_all_nodes():
    names = [parameter.name for parameter in ALL]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize('parameter', ALL, ids=lambda parameter: parameter.name)
def test_default_is_allowed(parameter):
    assert parameter.problem(parameter.default) is None
    assert parameter.meaning.endswith('.')


def test_parameter_file_has_every_parameter_with_its_default_and_a_comment():
    text = (ROOT / 'config' / 'mpc.yaml').read_text(encoding='utf-8')
    document = yaml.safe_load(text)
    assert list(document) == ['/**']
    assert dict(flat(document['/**']['ros__parameters'])) == parameters.defaults(ALL)
    lines = text.splitlines()
    for before, line in zip(lines, lines[1:], strict=False):
        is_value = line.startswith(' ') and not line.lstrip().startswith('#')
        if is_value and not line.rstrip().endswith(':'):
            assert before.lstrip().startswith('#'), f'no comment above "{line}"'


def test_readme_has_the_tables():
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    parts = readme.split('<!-- parameters -->')
    assert len(parts) == 3, 'the tables stand between two marks <!-- parameters -->'
    assert parts[1].strip() == parameters.markdown(tables.TABLES).strip()


@pytest.mark.parametrize('planner', PLANNERS)
def test_every_setting_of_a_planner_is_a_parameter_with_the_same_default(planner):
    table = parameters.defaults(tables.MPC)
    for field in fields(PLANNERS[planner].config):
        if field.name not in settings_of(planner):
            continue
        own, shared = f'planner.{planner}.{field.name}', f'planner.{field.name}'
        assert own in table or shared in table, f'{planner} has a new setting {field.name}'
        if field.default is not MISSING:
            assert table.get(own, table.get(shared)) == field.default, field.name


def test_every_setting_of_the_controller_is_a_parameter_with_the_same_default():
    table = parameters.defaults(tables.MPC)
    settings = fields(ControllerConfig)
    assert {f'control.{field.name}': field.default for field in settings}.items() <= table.items()


def test_every_embedded_world_can_be_chosen():
    worlds = pytest.importorskip('grasp_ros.sim.worlds', reason='no embedded world')
    table = {parameter.name: parameter for parameter in tables.SIM}
    assert table['sim.world'].choices == tuple(worlds.WORLDS)
    most = max(layouts.count for layouts in worlds.LAYOUTS.values())
    assert table['sim.layout'].high == most - 1


def test_every_limit_of_the_gate_is_a_parameter_with_the_same_default():
    table = parameters.defaults(tables.GATE)
    assert {f'gate.{field.name}': field.default for field in fields(GateConfig)}.items() <= (
        table.items()
    )


NUMBER = parameters.Parameter(name='n', kind='double', default=1.0, low=0.0, high=2.0, meaning='.')


@pytest.mark.parametrize(
    ('value', 'cure'),
    [
        (1, 'n: 1 is an integer, write 1.0'),
        (math.nan, 'n: nan given, write a number from 0 to 2'),
        (math.inf, 'write a number from 0 to 2'),
        (3.0, 'n: 3.0 given, write a number from 0 to 2'),
        ('1.0', 'write a double such as 10.0'),
        (True, 'write a double such as 10.0'),
        (None, 'write a double such as 10.0'),
    ],
)
def test_a_refusal_names_the_cure(value, cure):
    assert cure in NUMBER.problem(value)


def test_a_list_refuses_integers_and_text():
    numbers = parameters.Parameter(name='n', kind='double[]', default=[], low=0.0, meaning='.')
    assert numbers.problem([1.0, 2.0]) is None
    assert 'write [1.0, 2.0]' in numbers.problem([1, 2.0])
    assert numbers.problem([-1.0]) and numbers.problem('1.0') and numbers.problem([math.nan])


def test_a_choice_names_the_others():
    choice = parameters.Parameter(
        name='c', kind='string', default='a', choices=('a', 'b'), meaning='.'
    )
    assert choice.problem('c') == 'c: "c" is unknown, choose one of a, b'


values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.lists(st.integers() | st.floats() | st.text(max_size=5), max_size=4)
)  # fmt: skip


@given(st.sampled_from(ALL), values)
def test_any_value_is_taken_or_refused_with_its_name_and_only_good_ones_are_taken(
    parameter, value
):
    reason = parameter.problem(value)
    if reason is not None:
        assert reason.startswith(f'{parameter.name}: ')
        return
    types = {'bool': bool, 'integer': int, 'double': float, 'string': str}
    entries = value if parameter.kind.endswith('[]') else [value]
    for entry in entries:
        assert type(entry) is types[parameter.kind.removesuffix('[]')]
        if isinstance(entry, float | int) and not isinstance(entry, bool):
            assert math.isfinite(entry)
            assert parameter.low is None or entry >= parameter.low
            assert parameter.high is None or entry <= parameter.high
        assert not parameter.choices or entry in parameter.choices


def allowed(parameter):
    """Values that a parameter takes by itself."""
    low = -1e3 if parameter.low is None else parameter.low
    high = 1e3 if parameter.high is None else parameter.high
    if parameter.choices:
        return st.sampled_from(parameter.choices)
    return {
        'bool': st.booleans(),
        'integer': st.integers(int(low), int(high)),
        'double': st.floats(low, high),
        'string': st.text(max_size=5),
        'double[]': st.lists(st.floats(low, high), max_size=3),
        'string[]': st.lists(st.sampled_from(['linear.x', 'angular.z', 'speed']), max_size=3),
    }[parameter.kind]


class TestAgainstTheModel:
    """Contradictions between parameters, or with the model's card."""

    @pytest.fixture(scope='class')
    def settings(self):
        pytest.importorskip('geometry_msgs', reason='ROS 2 is not installed: pip install .[ros]')
        from grasp_ros.node import settings

        return settings

    @pytest.fixture(scope='class')
    def card(self):
        from grasp_ros.world_models.checkpoint import load_card

        return load_card('two_rooms')

    def values(self, **changes):
        return parameters.defaults(tables.MPC) | {
            name.replace('__', '.'): value for name, value in changes.items()
        }

    def test_defaults_fit_the_shipped_model(self, settings, card):
        settings.check(self.values(), card)

    @given(st.data())
    def test_values_that_are_allowed_one_by_one_fit_together_or_the_reason_is_given(
        self, settings, card, data
    ):
        changed = data.draw(st.lists(st.sampled_from(tables.MPC), max_size=4))
        values = self.values() | {p.name: data.draw(allowed(p)) for p in changed}
        try:
            settings.check(values, card)
        except ConfigError as error:
            assert str(error)
            return
        made = settings.Settings.from_values(values, card)
        assert (made.limits.low <= 0).all() and (made.limits.high >= 0).all()
        assert 0 < made.controller.deadline_sec <= card.control_period_sec

    @pytest.mark.parametrize(
        ('changes', 'reason'),
        [
            ({'control__rate': 20.0}, 'model step of 0.1 s divided by the action block 1'),
            ({'control__deadline_sec': 0.2}, 'longer than the control period of 0.1 s'),
            ({'control__max_action': [0.1]}, '1 entries given'),
            ({'control__max_action': [0.1, 0.0]}, 'no room around zero'),
            ({'control__max_action_rate': [1.0] * 3}, '3 entries given'),
            ({'planner__name': 'cem', 'planner__cem__samples': 5}, r'elites \+ 3'),
        ],
    )
    def test_a_contradiction_is_refused_with_the_numbers(self, settings, card, changes, reason):
        with pytest.raises(ConfigError, match=reason):
            settings.check(self.values(**changes), card)

    def test_the_rate_of_the_model_may_be_written_down(self, settings, card):
        settings.check(self.values(control__rate=10.0), card)

    def test_each_planner_gets_its_own_settings(self, settings):
        values = self.values(planner__name='cem', planner__cem__horizon=7, planner__cem__samples=9)
        name, chosen = settings.planner_settings(values)
        assert (name, chosen['horizon'], chosen['samples']) == ('cem', 7, 9)
        assert chosen['noise_scale'] == values['planner.cem.noise_scale']
        assert chosen['seed'] == values['planner.seed']

    def test_actions_go_to_the_fields_that_are_named(self, settings, card):
        command = settings.twist_layout(self.values(), card).command([0.1, 0.2])
        assert command == (0.1, 0.2, 0.0, 0.0, 0.0, 0.0)
        named = self.values(control__output_fields=['linear.x', 'angular.z'])
        command = settings.twist_layout(named, card).command([0.1, 0.2])
        assert command == (0.1, 0.0, 0.0, 0.0, 0.0, 0.2)

    def test_actions_are_scaled_to_the_units_of_the_twist(self, settings, card):
        scaled = self.values(control__output_scales=[0.01, -2.0])
        command = settings.twist_layout(scaled, card).command([10.0, 0.2])
        assert command == pytest.approx((0.1, -0.4, 0.0, 0.0, 0.0, 0.0))
        with pytest.raises(ConfigError, match='control.output_scales: 1 entries given'):
            settings.twist_layout(self.values(control__output_scales=[2.0]), card)

    @pytest.mark.parametrize(
        ('names', 'reason'),
        [
            (['linear.x', 'linear.x'], 'two actions go to one field'),
            (['linear.x', 'speed'], '"speed" is no field of a twist'),
            (['linear.x'], '1 entries given'),
        ],
    )
    def test_output_fields_that_cannot_be_are_refused(self, settings, card, names, reason):
        with pytest.raises(ConfigError, match=reason):
            settings.twist_layout(self.values(control__output_fields=names), card)

    def test_a_controller_that_was_built_has_solved_already_and_forgotten_it(self, settings):
        controller = settings.build_controller(self.values())
        assert controller.goal is None
        assert controller.planner.horizon == self.values()['planner.horizon']

    def test_all_that_a_tick_does_was_done_twice_before_the_first(self, settings, monkeypatch):
        """The second time is when a GPU captures, and that takes long."""
        seen = Counter()
        whole = Jepa.run

        def run(model, function, *inputs):
            shapes = tuple(getattr(value, 'shape', value) for value in inputs)
            seen[function.__name__, shapes] += 1
            return whole(model, function, *inputs)

        monkeypatch.setattr(Jepa, 'run', run)
        settings.build_controller(self.values(planner__iterations=5))
        names = {name for name, _ in seen}
        assert names >= {'priced', '_ranked', '_linearised', '_corrected', '_apart'}
        rare = {name for name in names if max(n for (f, _), n in seen.items() if f == name) < 2}
        assert not rare
        # With and without a look beyond active limits: prepared, and after the frame.
        rows = {False: set(), True: set()}
        for (name, shapes), count in seen.items():
            if name == '_ranked' and count > 1:
                rows[shapes[2] is not None].add(shapes[0])
        assert rows[True] and rows[True] <= rows[False]

    def test_no_number_of_threads_undoes_the_one_before(self, settings):
        before = torch.get_num_threads()
        try:
            usual = settings._TORCH_THREADS
            for threads, found in ((usual + 1, usual + 1), (0, usual)):
                settings.build_controller(self.values(model__threads=threads))
                assert torch.get_num_threads() == found
        finally:
            torch.set_num_threads(before)

    def test_a_controller_before_is_let_go(self, settings, monkeypatch):
        monkeypatch.syspath_prepend(Path(__file__).parent.parent / 'docs')
        values = self.values(model__path='python:example_model:make', model__precision='bfloat16')
        first = weakref.ref(settings.build_controller(values).model)
        assert first() is not None  # its parts refer to each other: a collection has to free it
        settings.build_controller(self.values())
        assert first() is None

    def test_a_planner_too_large_for_the_memory_is_refused_with_the_cures(
        self, settings, monkeypatch
    ):
        whole = Jepa.rollout

        def rollout(model, context, actions):
            if len(context) > 200:
                raise torch.cuda.OutOfMemoryError('CUDA out of memory: wanted 9 GiB\nMore')
            return whole(model, context, actions)

        monkeypatch.setattr(Jepa, 'rollout', rollout)
        with pytest.raises(ModelError, match=r'memory of cpu: fewer planner.restarts.* 9 GiB\)$'):
            settings.build_controller(self.values(planner__samples=201))
        settings.build_controller(self.values(planner__samples=100))

    def test_a_device_that_is_not_there_is_refused_by_name(self, settings):
        with pytest.raises(ConfigError, match='device "abacus"'):
            settings.build_controller(self.values(model__device='abacus'))

    def test_a_model_that_cannot_be_run_in_half_precision_is_refused_with_the_cure(self, settings):
        with pytest.raises(ModelError, match='two_rooms.*model.precision: float32'):
            settings.build_controller(self.values(model__precision='bfloat16'))
