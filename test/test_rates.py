# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Networks of published shapes, and the command that times planners on them."""

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from grasp_ros.benchmark import rates, sized
from grasp_ros.benchmark.rates import Case, measure
from grasp_ros.benchmark.rates_table import BOUND, MEASURED, SCALED
from grasp_ros.benchmark.roofline import Roofline
from grasp_ros.benchmark.sized import SIZES, Size, SizedModel
from grasp_ros.world_models import contract

TOKEN = Size('token', 28, (8, 1, 2), True, 8, (1, 2, 4, 16))
PATCHES = replace(TOKEN, name='patches', pools=False, embedding=4)
FAST = Roofline(flops=1e12, bytes=1e12)
GRASP = Case('grasp', {'horizon': 3, 'restarts': 2, 'samples': 1, 'iterations': 4})


@pytest.fixture(params=[TOKEN, PATCHES], ids=lambda size: size.name)
def model(request):
    return SizedModel(request.param).eval().requires_grad_(False)


def test_they_keep_the_contract(model):
    with torch.no_grad():
        contract.check(model)


def test_the_step_depends_on_all_that_it_is_told(model):
    random = torch.Generator().manual_seed(0)
    context = torch.randn(1, 3, *model.card.latent_shape, generator=random)
    actions = torch.zeros(1, 3, 5, 2)
    before = model.predict(context, actions)
    for n in range(3):
        pushed = actions.clone()
        pushed[:, n, -1, 0] = 0.3
        seen = context.clone()
        seen[:, n] += torch.randn(model.card.latent_shape, generator=random)
        for after in (model.predict(context, pushed), model.predict(seen, actions)):
            assert not torch.allclose(before, after, atol=1e-5), n


@pytest.mark.parametrize(('name', 'millions'), [('lewm', 16.4), ('dino-wm', 41.0)])
def test_they_have_as_many_parameters_as_what_they_stand_for(name, millions):
    with torch.device('meta'):
        model = SizedModel(SIZES[name])
    assert 1e-6 * sum(p.numel() for p in model.parameters()) == pytest.approx(millions, abs=0.1)


def test_a_plan_more_or_a_step_more_is_as_much_more_to_compute(model):
    one, longer, wider = (
        replace(GRASP, settings={**GRASP.settings, 'horizon': horizon, 'restarts': restarts})
        for horizon, restarts in ((1, 1), (7, 1), (1, 5))
    )
    assert longer.flops(model) == 7 * one.flops(model) > 0
    assert wider.flops(model) == 5 * one.flops(model)
    cem = Case('cem', {'horizon': 1, 'samples': 1})
    assert cem.flops(model) < one.flops(model) < 4 * cem.flops(model)


def test_a_tick_is_driven_and_one_that_would_take_too_long_is_bounded(model, monkeypatch):
    row = measure(lambda: model, GRASP, FAST)
    assert row['found'] == MEASURED
    assert 0 < row['encode_ms'] < row['action_ms'] < row['tick_ms']
    assert row['roofline'] is None or 0 < row['roofline'] < 1

    slow = Roofline(flops=GRASP.flops(model) / 30.0, bytes=1e12)
    row = measure(lambda: model, GRASP, slow)
    assert row['found'] == BOUND and row['iteration_ms'] == pytest.approx(30e3)
    assert row['tick_ms'] > 4 * 30e3 > row['action_ms'] > 0

    monkeypatch.setattr(rates, 'LONGEST_SEC', 1e-3)
    row = measure(lambda: model, GRASP, FAST)
    assert row['found'] == SCALED and row['tick_ms'] > 2 * row['iteration_ms']


def test_the_command_says_what_each_planner_takes(tmp_path, monkeypatch):
    monkeypatch.setitem(sized.SIZES, 'lewm', TOKEN)
    monkeypatch.setattr(rates, 'CEM', rates.CEM[:1])
    monkeypatch.setattr(torch, 'set_num_threads', lambda count: None)  # of all other tests too
    page, file = tmp_path / 'page.md', tmp_path / 'models.json'
    page.write_text('<!-- begin rates -->\n<!-- end rates -->\n', encoding='utf-8')
    result = CliRunner().invoke(rates.command, [
        '--model', 'lewm', '--horizon', '2', '--restarts', '1', '--restarts', '2',
        '--json', str(file), '--markdown', str(page),
    ])  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = json.loads(file.read_text(encoding='utf-8'))['rows']
    assert [(row['planner'], row['plans']) for row in rows] == [
        ('grasp', 1), ('grasp', 2), ('cem', 64),
    ]
    table = page.read_text(encoding='utf-8')
    assert table.count('| token, float32 |') == 3 and 'GFLOP/s' in table
    assert 'token, float32, grasp, T = 2, 1 plans' in ' '.join(result.output.split())


def test_what_was_measured_is_kept_where_another_model_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, 'set_num_threads', lambda count: None)
    file, page = tmp_path / 'rates.json', tmp_path / 'page.md'
    options = ['--model', 'two_rooms', '--model', 'no_such', '--horizon', '3', '--restarts', '1',
               '--no-cem', '--json', str(file)]
    result = CliRunner().invoke(rates.command, options)
    assert result.exit_code == 1 and 'no checkpoint at "no_such"' in result.output
    assert len(json.loads(file.read_text())['rows']) == 1
    page.write_text('no marks')
    result = CliRunner().invoke(rates.command, [*options, '--markdown', str(page)])
    assert result.exit_code == 2 and 'has no lines' in ' '.join(result.output.split())


def test_a_device_that_is_not_there_is_refused():
    result = CliRunner().invoke(rates.command, ['--device', 'abacus'])
    assert result.exit_code == 2 and 'abacus' in result.output
