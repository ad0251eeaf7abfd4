# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Exported pairs: they compute what was exported, and nothing that a file says is executed."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from grasp_ros.errors import CardError, CheckpointError, ModelError
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.adapters import torch_export
from grasp_ros.world_models.base import Observation

LATENT = (4, 6)
CARD = {
    'name': 'exported',
    'architecture': {'type': 'torch_export'},
    'cameras': {'top': {'height': 4, 'width': 4}},
    'actions': [{'name': 'linear.x', 'unit': 'm/s', 'low': -1.0, 'high': 1.0}],
    'proprioception': [{'name': 'x', 'unit': 'm'}],
    'latent_shape': LATENT, 'model_step_sec': 0.2, 'action_block': 2, 'frames': 2, 'history': 2,
}  # fmt: skip


class Encoder(nn.Module):
    """Everything that there is to see, to tokens."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(96 + 2 + 2, 24)

    def forward(self, images, sensed, actions):
        seen = (images.float() / 255).flatten(1)
        everything = torch.cat((seen, sensed.flatten(1), actions.flatten(1)), dim=1)
        return self.layer(everything).view(-1, *LATENT)


class Predictor(nn.Module):
    """Two latents and two blocks to the next latent."""

    def __init__(self):
        super().__init__()
        self.push = nn.Linear(4, 6)
        self.norm = nn.LayerNorm(6)

    def forward(self, context, actions):
        pushed = self.push(actions.flatten(1)).unsqueeze(1)
        keys = context.flatten(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(context[:, -1] + pushed, keys, keys)
        return self.norm(context[:, -1] + mixed)


@pytest.fixture(scope='module')
def networks():
    torch.manual_seed(0)
    return Encoder().eval(), Predictor().eval()


@pytest.fixture(scope='module')
def exported(networks, tmp_path_factory):
    """The folder that a user makes."""
    folder = tmp_path_factory.mktemp('exported')
    rows = torch.export.Dim('rows')
    images = torch.zeros(2, 2, 4, 4, 3, dtype=torch.uint8)
    for network, name, inputs in (
        (networks[0], 'encoder', (images, torch.zeros(2, 2, 1), torch.zeros(2, 1, 2, 1))),
        (networks[1], 'predictor', (torch.zeros(2, 2, *LATENT), torch.zeros(2, 2, 2, 1))),
    ):
        shapes = tuple({0: rows} for _ in inputs)
        program = torch.export.export(network, inputs, dynamic_shapes=shapes)
        torch.export.save(program, folder / f'{name}.pt2')
    (folder / 'card.json').write_text(json.dumps(CARD))
    return folder


@pytest.fixture
def copy(exported, tmp_path):
    """One that may be spoilt."""
    return shutil.copytree(exported, tmp_path / 'copy')


def rewrite(folder, change, name='predictor.pt2'):
    """Change the entries of an archive: ``change`` gets and alters a dict of them."""
    with zipfile.ZipFile(folder / name) as archive:
        entries = {entry.partition('/')[2]: archive.read(entry) for entry in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(folder / name, 'w') as archive:
        for entry, content in entries.items():
            archive.writestr(f'predictor/{entry}', content)


def with_json(entry, change):
    """A change for :func:`rewrite` of the JSON in one entry."""

    def apply(entries):
        value = json.loads(entries[entry])
        change(value)
        entries[entry] = json.dumps(value).encode()

    return apply


def test_an_exported_pair_computes_what_was_exported(exported, networks):
    model = checkpoint.load(exported)
    draw = torch.Generator().manual_seed(1)
    for rows in (1, 2, 7):
        context = torch.randn(rows, 2, *LATENT, generator=draw)
        actions = torch.randn(rows, 2, 2, 1, generator=draw)
        cotangent = torch.randn(rows, *LATENT, generator=draw)
        leaf = actions.clone().requires_grad_(True)
        expected = networks[1](context, leaf)
        given, pullback = model.predict_with_vjp(context, actions)
        torch.testing.assert_close(given, expected.detach())
        slope = torch.autograd.grad(expected, leaf, cotangent)[0]
        torch.testing.assert_close(pullback(cotangent), slope)


def test_the_export_of_the_documentation_works(tmp_path, monkeypatch):
    docs = Path(__file__).resolve().parent.parent / 'docs'
    monkeypatch.syspath_prepend(docs)
    monkeypatch.chdir(tmp_path)
    example = checkpoint.load('python:example_model:make')

    class Pictures(nn.Module):
        """The example's encoder, as the card of an exported pair wants it."""

        def forward(self, pictures):
            return example.encode(Observation({'front': pictures}))

    class Step(nn.Module):
        """Its predictor."""

        def forward(self, context, actions):
            return example.predict(context, actions)

    snippet = (docs / 'models.md').read_text().split('## An exported pair')[-1]
    code = snippet.split('```python')[1].split('```')[0]
    exec(code, {'torch': torch, 'encoder': Pictures(), 'predictor': Step()})
    card = {**example.card.to_dict(), 'architecture': {'type': 'torch_export'}}
    (tmp_path / 'card.json').write_text(json.dumps(card))
    model = checkpoint.load(tmp_path)
    context, actions = torch.randn(3, 2, 16, 24), torch.rand(3, 2, 5, 2)
    torch.testing.assert_close(
        model.predict(context, actions), example.predict(context, actions)
    )


def test_a_card_that_does_not_fit_the_programs_is_refused(copy):
    for changes, reason in (
        ({'latent_shape': [6, 4]}, 'encode gives'),
        ({'action_block': 3}, 'a first try failed'),
        ({'proprioception': []}, 'takes 2 tensors by position'),
    ):
        (copy / 'card.json').write_text(json.dumps({**CARD, **changes}))
        with pytest.raises((CardError, ModelError), match=reason):
            checkpoint.load(copy)


def test_a_file_that_is_missing_or_damaged_is_refused(copy):
    whole = (copy / 'predictor.pt2').read_bytes()
    (copy / 'predictor.pt2').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r'predictor\.pt2 is not what torch\.export'):
        checkpoint.load(copy)
    (copy / 'predictor.pt2').unlink()
    with pytest.raises(CheckpointError, match=r'predictor\.pt2'):
        checkpoint.load(copy)


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.exit, ('a pickle was executed',))


BOMB = pickle.dumps(Bomb())
CODE = "__import__('pytest').exit('code was executed')"


def as_pickle(value):
    next(iter(value['config'].values()))['use_pickle'] = True


def as_object(value):
    value['config']['extra'] = {'path_name': 'opaque_obj_0', 'use_pickle': True, 'is_param': False}


def shape_of_code(value):
    value['graph_module']['graph']['outputs'].append({'as_sym_int': {'as_expr': {
        'expr_str': CODE, 'hint': None}}})  # fmt: skip


def call_of_code(value):
    value['graph_module']['graph']['nodes'][0]['target'] = 'torch.os.system'


def call_of_what_is_named(value):
    value['graph_module']['graph']['nodes'][0]['target'] = '_operator.call'


def operator_as_an_argument(value):
    node = value['graph_module']['graph']['nodes'][0]
    node['target'] = 'torch.ops.higher_order.wrap_with_set_grad_enabled'
    node['inputs'] = [{'name': 'a', 'kind': 1, 'arg': {'as_bool': False}}, {
        'name': 'a', 'kind': 1, 'arg': {'as_operator': 'torch.ops.aten.from_file.default'}}]


def signature_of_code(value):
    signature = value['graph_module']['module_call_graph'][0]['signature']
    signature['in_spec'] = signature['in_spec'].replace('"null"', json.dumps(json.dumps(
        {'__enum__': True, 'fqn': 'antigravity:x', 'name': 'y'})), 1)  # fmt: skip


def name_of_code(entries):
    """In the place of the name of an input, which torch writes into Python of its own."""
    text = entries['models/model.json'].decode()
    assert '"actions"' in text
    entries['models/model.json'] = text.replace('"actions"', f'"actions={CODE}"').encode()


def weight_of_code(value):
    value['config'][f'push.{CODE}'] = value['config'].pop('push.weight')


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda entries: entries.update({'data/aotinductor/model/model.so': b''}), 'the entry'),
        (lambda entries: entries.update({'data/weights/model.pt': BOMB}), 'the entry'),
        (lambda entries: entries.update({'version': b'1.0'}), 'the entry'),
        (with_json(torch_export._TABLES[0], as_pickle), 'which is a pickle'),
        (with_json(torch_export._TABLES[1], as_object), 'which is a pickle'),
        (with_json(torch_export._TABLES[0], weight_of_code), 'the name'),
        (with_json('models/model.json', shape_of_code), 'the shape'),
        (name_of_code, 'the name'),
        (with_json('models/model.json', call_of_code), 'no operator of torch'),
        (with_json('models/model.json', call_of_what_is_named), 'no operator of torch'),
        (with_json('models/model.json', operator_as_an_argument), 'as an argument of a call'),
        (with_json('models/model.json', signature_of_code), 'its in_spec is'),
    ],
)
def test_what_would_run_code_is_refused(copy, change, reason):
    rewrite(copy, change)
    with pytest.raises(CheckpointError, match=reason):
        checkpoint.load(copy)


@pytest.mark.parametrize(
    'change',
    [
        lambda entries: entries.update({'data/sample_inputs/model.pt': BOMB}),
        with_json('models/model.json', lambda value: value['guards_code'].append(CODE)),
    ],
)
def test_what_would_run_code_and_is_not_needed_is_left_out(copy, change):
    rewrite(copy, change)
    assert checkpoint.load(copy).card.name == 'exported'
