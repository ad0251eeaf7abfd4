# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A recorded run is driven again: the same commands to the last bit, and what differs is named."""

import dataclasses
import math

import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image

pytest.importorskip('rosbags', reason='no bags: pip install .[bag]')
import bags
import tiny_world
from cart_world import CartModel, cart_card, make_controller

from grasp_ros.control.history import Frame
from grasp_ros.control.tick import COLD, TickStatus
from grasp_ros.errors import ConfigError
from grasp_ros.node import settings
from grasp_ros.recording.bag import Bag, RecordingError
from grasp_ros.recording.replay import command, compare, digest, read_parameters, replay
from grasp_ros.sim.worlds import make

NS, PERIOD_NS = 1_000_000_000, 100_000_000
START, GOAL = (0.25, 0.3), (0.7, 0.6)
PARAMETERS = {
    'planner': {'horizon': 12, 'iterations': 30, 'samples': 16, 'sync_every': 4},
    'control': {'deadline_sec': 0.03, 'actuator_delay_sec': 0.13, 'unforeseen_frames': 0},
}
TICKS, GOAL_TICK, BREAK, SECOND_GOAL_TICK, SLOW = 36, 3, range(18, 21), 24, range(30, 36)
LATE_TICK = 15  # whose command came too late to be sent


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def statistics(tick, number, *, image_ns, sent_ns, now_sec, goal_id, planner):
    """As the node fills it."""
    image_sec = image_ns // NS + 1e-9 * (image_ns % NS)
    return bags.make(
        'grasp_ros/msg/SolverStatistics',
        header=bags.header(sent_ns),
        image_stamp=bags.header(image_ns).stamp if image_ns else bags.header(0).stamp,
        tick=number,
        status={'SOLVED': 0, 'PREVIOUS_PLAN': 2, 'NO_IMAGE': 10, 'STALE_IMAGE': 11,
                'NO_GOAL': 12}[tick.status.name],
        status_text=tick.status.value,
        goal_id=goal_id,
        planner=planner[0],
        horizon=planner[1],
        iterations=tick.iterations,
        syncs=tick.syncs,
        shift_steps=tick.shift_steps,
        warm_start_used=tick.shift_steps != COLD,
        image_age_sec=now_sec - image_sec if image_ns else math.nan,
        encode_sec=tick.encode_sec,
        solve_sec=tick.solve_sec,
        prepare_sec=tick.prepare_sec,
        latency_sec=tick.latency_sec,
    )


def drive(values):
    """A run as the node would have it: with the times that it takes here, lost frames, a pushed
    robot, a gate that passes half of the commands for a while, and two goals."""
    world = make('two_rooms')
    world.reset(options={'start': START})
    controller = settings.build_controller(values)
    card = controller.model.card
    layout = settings.twist_layout(values, card)
    planner = (values['planner.name'], values['planner.horizon'])
    messages, ticks, frame, goal_id, image_ns = [], [], None, 0, 0
    for number in range(1, TICKS + 1):
        stamp_ns = bags.START_NS + number * PERIOD_NS
        if number > 1 and number not in BREAK:
            image_ns = stamp_ns
            picture = world.render()
            stamp_sec = stamp_ns // NS + 1e-9 * (stamp_ns % NS)
            frame = Frame({'overhead': picture}, stamp_sec)
            messages.append(('/image_raw', stamp_ns + 5_000_000, bags.image(picture, stamp_ns)))
        if number in (GOAL_TICK, SECOND_GOAL_TICK):
            goal_id += 1
            picture = world.render_at(*(GOAL if goal_id == 1 else START))
            controller.set_goal(controller.encode_goal(Frame({'overhead': picture}, 0.0)))
            messages.append(('/goal_image', stamp_ns - 1, bags.image(picture, 0)))
        share = 0.5 if number in SLOW else 1.0
        gate = bags.make('grasp_ros/msg/GateStatus', header=bags.header(stamp_ns), state=1,
                         speed_scale=share)
        messages.append(('/gate_status', stamp_ns, gate))
        # With the delay of the drive just before half a quarter of the period: whatever the tick
        # takes, the command takes effect a quarter later.
        now_sec = 1e-9 * (stamp_ns + 7_000_000)
        tick = controller.step(frame, now_sec=now_sec, passed=share, number=number)
        if number == LATE_TICK:
            tick = controller.withdraw(tick, TickStatus.STALE_IMAGE, 'too late')
        took_sec = min(tick.encode_sec + tick.solve_sec, 0.05)  # a busy machine; before the next
        sent_ns = stamp_ns + 7_000_000 + round(1e9 * took_sec)
        twist = bags.twist_stamped(layout.command(tick.action), sent_ns)
        told = statistics(tick, number, image_ns=image_ns, sent_ns=sent_ns, now_sec=now_sec,
                          goal_id=goal_id, planner=planner)
        messages += [('/action', sent_ns, twist), ('/solver_statistics', sent_ns, told)]
        if tick.status.drives:
            controller.prepare(budget_sec=0.04)
        world.drive(share * (ticks[-1].action if ticks else tick.action))  # a drive that is late
        world.advance(1e-9 * PERIOD_NS)
        if number == 10:
            world.kick((0.05, 0.02), (0.0, 0.0))
        ticks.append(tick)
    return messages, ticks


@pytest.fixture(scope='module')
def parameter_file(tmp_path_factory):
    file = tmp_path_factory.mktemp('parameters') / 'mpc.yaml'
    file.write_text(yaml.safe_dump({'/**': {'ros__parameters': PARAMETERS}}))
    return file


@pytest.fixture(scope='module')
def values(parameter_file):
    return read_parameters(parameter_file)


@pytest.fixture(scope='module')
def run(values):
    return drive(values)


@pytest.fixture(scope='module')
def bag(run, tmp_path_factory):
    return write(tmp_path_factory.mktemp('run') / 'bag', run)


def write(path, run, *, without=()):
    messages = [message for message in run[0] if message[0] not in without]
    return bags.write(path, sorted(messages, key=lambda m: m[1]))


def replayed(path, values, **options):
    with Bag(path) as bag:
        return replay(bag, values, **options)


def test_a_run_is_replayed_to_the_last_bit_and_twice_alike(bag, run, values):
    _, ticks = replayed(bag, values)
    compared = compare(ticks)
    assert compared.ticks == compared.compared == compared.same == TICKS
    assert (compared.largest, compared.first_other) == (0.0, None)
    assert compared.other_status == compared.missing_frames == 0
    before = run[1]
    assert [t.tick.shift_steps for t in ticks] == [tick.shift_steps for tick in before]
    assert [t.tick.iterations for t in ticks] == [tick.iterations for tick in before]
    # It was a run in which the clock had a say.
    assert {tick.status.name for tick in before} == {
        'NO_IMAGE', 'NO_GOAL', 'SOLVED', 'PREVIOUS_PLAN', 'STALE_IMAGE'}
    assert any(tick.prepare_sec > 0 for tick in before)
    assert len({tick.iterations for tick in before}) > 2
    assert digest(replayed(bag, values)[1]) == digest(ticks)


def test_other_parameters_give_other_commands_and_the_first_is_named(bag, values):
    _, ticks = replayed(bag, values | {'planner.running_weight': 0.1})
    compared = compare(ticks)
    assert 0 < compared.same < TICKS and compared.largest > compared.median >= 0
    other = compared.first_other
    assert other.recorded.number >= GOAL_TICK and other.command != other.recorded.action


def test_goals_come_from_pictures_where_they_are_not_in_the_bag(tmp_path, run, values):
    bag = write(tmp_path / 'bag', run, without=['/goal_image'])
    world = make('two_rooms')
    goals = [world.render_at(*GOAL), world.render_at(*START)]
    assert compare(replayed(bag, values, goals=goals)[1]).same == TICKS
    with pytest.raises(RecordingError, match=f'tick {SECOND_GOAL_TICK} drives to: name it'):
        replayed(bag, values, goals=goals[:1])
    with pytest.raises(ConfigError, match='the model needs 64x64'):
        replayed(bag, values, goals=[goals[0][:32]])


def test_a_recorder_with_another_clock_gives_the_same_replay(tmp_path, run, values):
    """Stamps of simulated time, and a recorder that knows the machine's alone."""
    elsewhere = [(topic, at_ns + 10_000 * NS, message) for topic, at_ns, message in run[0]]
    _, ticks = replayed(write(tmp_path / 'bag', (elsewhere,)), values)
    assert compare(ticks).same == TICKS


def test_a_recorded_picture_is_that_of_one_goal(tmp_path, run, values):
    """The second one came by the action."""
    second = [m for m in run[0] if m[0] == '/goal_image'][1]
    bag = write(tmp_path / 'bag', ([m for m in run[0] if m is not second],))
    with pytest.raises(RecordingError, match=f'goal 2, which tick {SECOND_GOAL_TICK} drives to'):
        replayed(bag, values)


@pytest.mark.parametrize('namespace', ['robot1', '/robot1', '/robot1/'])
def test_a_namespace_needs_no_slashes(tmp_path, run, values, namespace):
    moved = [(f'/robot1{topic}', at_ns, message) for topic, at_ns, message in run[0]]
    bag = write(tmp_path / 'bag', (moved,))
    assert compare(replayed(bag, values, namespace=namespace)[1]).same == TICKS


def test_a_recording_from_later_on_has_the_random_numbers_of_its_ticks(tmp_path, run, values):
    """Recording begins after the node, before the first goal."""
    later = [m for m in run[0] if m[1] >= bags.START_NS + (GOAL_TICK - 1) * PERIOD_NS]
    _, ticks = replayed(write(tmp_path / 'bag', (later,)), values)
    assert ticks[0].recorded.number == GOAL_TICK - 1
    compared = compare(ticks)
    assert compared.same == compared.compared == TICKS - GOAL_TICK + 2


def test_without_statistics_the_actions_are_the_ticks_and_two_replays_are_equal(
    tmp_path, run, values
):
    bag = write(tmp_path / 'bag', run, without=['/solver_statistics', '/goal_image'])
    goal = [make('two_rooms').render_at(*GOAL)]
    recorded, ticks = replayed(bag, values, goals=goal)
    assert not recorded.is_timed and len(ticks) == TICKS
    assert sum(t.tick.status is TickStatus.SOLVED for t in ticks) > TICKS / 2
    assert digest(replayed(bag, values, goals=goal)[1]) == digest(ticks)


def test_a_frame_that_is_not_in_the_bag_is_counted_and_the_run_goes_on(tmp_path, run, values):
    lost = [m for m in run[0] if m[0] == '/image_raw'][20]
    messages = [message for message in run[0] if message is not lost]
    _, ticks = replayed(write(tmp_path / 'bag', (messages,)), values)
    compared = compare(ticks)
    assert compared.missing_frames == 1 and compared.ticks == TICKS
    assert 20 < compared.same < TICKS


def test_a_picture_with_an_odd_stamp_does_not_hide_those_after_it(tmp_path, run, values):
    at = [n for n, message in enumerate(run[0]) if message[0] == '/image_raw'][20]
    _, heard_ns, picture = run[0][at]
    odd = dataclasses.replace(picture, header=bags.header(2 * 10**18))
    messages = [*run[0][:at], ('/image_raw', heard_ns, odd), *run[0][at:]]
    compared = compare(replayed(write(tmp_path / 'bag', (messages,)), values)[1])
    assert (compared.missing_frames, compared.same) == (0, TICKS)


def test_a_tick_that_took_long_is_heard_of_late_and_its_frame_is_found(tmp_path, run, values):
    told = [m for m in run[0] if m[0] == '/solver_statistics'][20]
    topic, heard_ns, message = told
    slow = dataclasses.replace(message, solve_sec=3.0)
    at = next(n for n, m in enumerate(run[0]) if m is told)
    messages = [*run[0][:at], (topic, heard_ns, slow), *run[0][at + 1 :]]
    later = [(t, ns if n < at else ns + 3 * NS, m) for n, (t, ns, m) in enumerate(messages)]
    assert compare(replayed(write(tmp_path / 'bag', (later,)), values)[1]).missing_frames == 0


def test_the_command_says_it_in_words(bag, parameter_file, tmp_path):
    result = CliRunner().invoke(command, [str(bag), '--params', str(parameter_file)])
    assert result.exit_code == 0, result.output
    assert f'{TICKS} of {TICKS} are the same to the last bit' in result.output
    assert 'digest' in result.output and 'other parameters?' not in result.output
    result = CliRunner().invoke(command, [str(bag)])
    assert 'horizon 12, the parameters say grasp with 40' in result.output
    file = tmp_path / 'goal.png'
    Image.fromarray(make('two_rooms').render_at(*START)).save(file)
    result = CliRunner().invoke(
        command, [str(bag), '--params', str(parameter_file), '--goal', str(file),
                  '--goal', str(file)])
    assert f'first in tick {GOAL_TICK}' in result.output


def test_a_second_activation_ends_the_run(tmp_path, run, values):
    again = [(topic, heard_ns + 100 * PERIOD_NS, message) for topic, heard_ns, message in run[0]]
    bag = write(tmp_path / 'bag', (run[0] + again,))
    assert compare(replayed(bag, values)[1]).same == TICKS


def test_what_cannot_be_replayed_is_refused_with_the_reason(
    tmp_path, run, values, bag, monkeypatch
):
    empty = write(tmp_path / 'a', run, without=['/solver_statistics', '/action'])
    with pytest.raises(RecordingError, match='record /solver_statistics, or at least /action'):
        replayed(empty, values)
    blind = write(tmp_path / 'b', run, without=['/image_raw'])
    with pytest.raises(RecordingError, match='holds no topic /image_raw'):
        replayed(blind, values)
    with pytest.raises(RecordingError, match='holds no topic /robot1/image_raw'):
        replayed(blind, values, namespace='/robot1')
    card = tiny_world.CARD
    assert card.proprioception
    monkeypatch.setattr(
        settings, 'build_controller',
        lambda values, clock: make_controller(CartModel(cart_card(
            proprioception=card.proprioception))),
    )
    with pytest.raises(ConfigError, match='cart senses more than one camera'):
        replayed(bag, values)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('/**: {ros__parameters: {planner: {horizon: 12.0}}}', 'write an integer'),
        ('[1, 2]', 'no file of parameters'),
        ('mpc_node: {ros__parameters: {planner: {1: 3}}}', 'no file of parameters'),
        ('/**: {parameters: {}}', 'has no parameters of /mpc_node, but of: none'),
        ('robot1: {mpc_node: {ros__parameters: {}}}', 'but of: /robot1/mpc_node'),
        ('{', 'no file of parameters'),
    ],
)
def test_a_file_of_parameters_is_read_as_ros_does_or_refused(tmp_path, text, reason):
    file = tmp_path / 'mpc.yaml'
    file.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        read_parameters(file)


def test_parameters_of_other_nodes_are_passed_over_and_those_by_name_count_last(tmp_path):
    file = tmp_path / 'mpc.yaml'
    file.write_text(yaml.safe_dump({
        '/**': {'ros__parameters': {'planner': {'horizon': 7}, 'gate': {'rate': 20.0}}},
        'mpc_node': {'ros__parameters': {'planner.seed': 5}},
        'gate_node': {'ros__parameters': {'planner': {'horizon': 9}}},
    }))
    values = read_parameters(file)
    assert (values['planner.horizon'], values['planner.seed']) == (7, 5)
    assert 'gate.rate' not in values and values['planner.samples'] == 32


@pytest.mark.parametrize('nested', [False, True])
def test_each_robot_of_a_file_has_its_own_parameters(tmp_path, nested):
    def robot(name, horizon):
        node = {'ros__parameters': {'planner': {'horizon': horizon}}}
        return {name: {'mpc_node': node}} if nested else {f'/{name}/mpc_node': node}

    file = tmp_path / 'mpc.yaml'
    everywhere = {'/**/mpc_node': {'ros__parameters': {'planner': {'seed': 5}}}}
    file.write_text(yaml.safe_dump(everywhere | robot('robot1', 7) | robot('robot2', 33),
                                   sort_keys=False))
    for namespace, horizon in (('robot1', 7), ('/robot2', 33), ('', 40), ('robot', 40)):
        values = read_parameters(file, namespace=namespace)
        assert (values['planner.horizon'], values['planner.seed']) == (horizon, 5)
