# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of stable-worldmodel, written by that library: imported, they compute the same.

Random weights of the genuine architectures, small. All but the refusals need the library.
"""

import inspect
import json
import math
import os
import pickle
import re
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from ticks import drive
from torch import nn

from grasp_ros.control.controller import TickStatus
from grasp_ros.errors import CardError, CheckpointError
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import ModelCard, Observation
from grasp_ros.world_models.import_model import command, convert, read_weights

SIZE, BLOCK, HISTORY, STEPS = 28, 5, 3, 4  # pixels; control steps; latents; predictions
MEAN, STD = [-0.01, 0.02], [0.2, 0.25]
PATCHES = (SIZE // 14) ** 2
WITHIN = {'rtol': 1e-4, 'atol': 1e-5}


def vit(**changes):
    return {
        '_target_': 'stable_pretraining.backbone.utils.vit_hf', 'size': 'tiny', 'patch_size': 14,
        'image_size': SIZE, 'pretrained': False, 'use_mask_token': False, **changes,
    }  # fmt: skip


def flat_config(package, target, width=192):
    """What scripts/train/lewm.py and pldm.py write, with two layers of four heads."""
    mlp = {
        '_target_': f'{package}.module.MLP', 'input_dim': width, 'output_dim': width,
        'hidden_dim': 64, 'norm_fn': {'_target_': 'torch.nn.BatchNorm1d', '_partial_': True},
    }  # fmt: skip
    return {
        '_target_': target,
        'encoder': vit(),
        'predictor': {
            '_target_': f'{package}.module.Predictor', 'num_frames': HISTORY, 'input_dim': width,
            'hidden_dim': width, 'output_dim': width, 'depth': 2, 'heads': 4, 'mlp_dim': 64,
            'dim_head': 16, 'dropout': 0.1, 'emb_dropout': 0.0,
        },
        'action_encoder': {
            '_target_': f'{package}.module.Embedder', 'input_dim': 2 * BLOCK, 'emb_dim': width,
        },
        'projector': mlp,
        'pred_proj': mlp,
    }  # fmt: skip


def split_config(keys=('proprio', 'action')):
    """What scripts/train/prejepa.py writes; each embedding has ten entries."""
    entries = {'proprio': 4, 'action': 2 * BLOCK}
    embedder = {'_target_': 'stable_worldmodel.wm.prejepa.module.Embedder', 'emb_dim': 10}
    return {
        '_target_': 'stable_worldmodel.wm.PreJEPA', 'history_size': HISTORY, 'num_pred': 1,
        'interpolate_pos_encoding': True,
        'encoder': {
            '_target_': 'stable_worldmodel.wm.prejepa.module.create_backbone',
            'name': 'dinov2_small',
        },
        'predictor': {
            '_target_': 'stable_worldmodel.wm.prejepa.module.CausalPredictor',
            'num_patches': PATCHES, 'num_frames': HISTORY, 'dim': 384 + 10 * len(keys),
            'depth': 2, 'heads': 4, 'mlp_dim': 64, 'dim_head': 16, 'dropout': 0.1,
        },
        'extra_encoders': {
            '_target_': 'torch.nn.ModuleDict',
            'modules': {key: {**embedder, 'in_chans': entries[key]} for key in keys},
        },
    }  # fmt: skip


CONFIGS = {
    'lewm': flat_config('stable_worldmodel.wm.lewm', 'stable_worldmodel.wm.lewm.LeWM'),
    'pldm': flat_config('stable_worldmodel.wm.pldm', 'stable_worldmodel.wm.pldm.pldm.PLDM'),
    'prejepa': split_config(),
    'prejepa, action first': split_config(('action', 'proprio')),
    'prejepa, no proprioception': split_config(('action',)),
}


def card_of(name):
    """What a user writes for one of them."""
    senses = 4 if 'proprio' in CONFIGS[name].get('extra_encoders', {}).get('modules', {}) else 0
    bounds = {'unit': 'm/s', 'low': -0.5, 'high': 0.5}
    architecture = {'action_mean': MEAN, 'action_std': STD}
    if senses:
        architecture |= {'proprioception_mean': [1.0] * 4, 'proprioception_std': [2.0] * 4}
    return {
        'name': name,
        'cameras': {'top': {'height': SIZE, 'width': SIZE}},
        'actions': [{'name': 'linear.x', **bounds}, {'name': 'linear.y', **bounds}],
        'proprioception': [{'name': f'p{n}', 'unit': 'm'} for n in range(senses)],
        'latent_shape': [PATCHES, 394 if senses else 384] if 'prejepa' in name else [192],
        'model_step_sec': 0.5, 'action_block': BLOCK, 'history': HISTORY,
        'architecture': architecture,
    }  # fmt: skip


def write_card(folder, values):
    path = folder / 'mine.json'
    path.write_text(json.dumps(values))
    return path


@pytest.fixture(scope='module')
def upstream():
    """Make a network by upstream's own code and its checkpoint by its own writer."""
    for library in ('stable_worldmodel', 'stable_pretraining', 'hydra', 'transformers'):
        pytest.importorskip(library, reason=f'{library} is not installed')
    import transformers
    from stable_worldmodel.wm.utils import load_pretrained, save_pretrained

    def download(name):  # what create_backbone gets from the hub, with random weights
        assert name == 'facebook/dinov2-small'
        config = transformers.Dinov2Config(
            hidden_size=384, num_attention_heads=6, num_hidden_layers=12, image_size=518,
        )  # fmt: skip
        return transformers.Dinov2Model(config)

    def make(name, folder):
        from hydra.utils import instantiate
        from omegaconf import OmegaConf

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transformers.AutoModel, 'from_pretrained', download)
            torch.manual_seed(0)
            network = instantiate(CONFIGS[name])
            for value in network.parameters():  # AdaLN-zero and layer scale start as no-ops
                value.data += 0.05 * torch.randn_like(value)
            for module in network.modules():
                if isinstance(module, nn.BatchNorm1d):
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.5, 2.0)
            config = OmegaConf.create(CONFIGS[name])
            save_pretrained(network, run_name='run', config=config, cache_dir=folder)
            again = load_pretrained('run', cache_dir=folder)
        return again.eval().requires_grad_(False), folder / 'checkpoints' / 'run'

    return make


def rolled_out(network, info, past, candidates):
    """Upstream's rollout, whichever of its two conventions for past actions it keeps."""
    if 'action_history' in inspect.getsource(type(network).rollout):
        info['action_history'], given = past, candidates
    else:
        given = torch.cat((past, candidates), dim=2)
    info = network.rollout(info, given)
    key = 'predicted_emb' if 'predicted_emb' in info else 'predicted_embedding'
    return info, info[key][:, 0, HISTORY:]


@pytest.mark.parametrize('name', CONFIGS)
def test_an_imported_checkpoint_computes_what_upstream_computes(name, upstream, tmp_path):
    network, source = upstream(name, tmp_path)
    convert(source, write_card(tmp_path, card_of(name)), tmp_path / 'mine')
    model = checkpoint.load(tmp_path / 'mine')
    card, count = model.card, 2
    draw = torch.Generator().manual_seed(1)
    shape = (count, HISTORY, SIZE, SIZE, 3)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw)
    sensed = torch.randn(count, HISTORY, len(card.proprioception), generator=draw)
    actions = torch.rand(count, HISTORY - 1 + STEPS, BLOCK, 2, generator=draw) - 0.5

    # Upstream's side, as scripts/plan/eval_wm.py prepares it.
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    transform = v2.Compose([
        v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]), v2.Resize(SIZE),
    ])  # fmt: skip
    pixels = [transform(tv_tensors.Image(image)) for image in images.flatten(0, 1).movedim(-1, 1)]
    pixels = torch.stack([torch.as_tensor(image) for image in pixels])
    info = {'pixels': pixels.view(count, 1, HISTORY, 3, SIZE, SIZE)}
    if card.proprioception:
        info['proprio'] = ((sensed - 1.0) / 2.0).unsqueeze(1)
    scaled = ((actions - torch.tensor(MEAN)) / torch.tensor(STD)).flatten(2).unsqueeze(1)
    past, candidates = scaled[:, :, : HISTORY - 1], scaled[:, :, HISTORY - 1 :]
    with torch.no_grad():
        info, expected = rolled_out(network, info, past, candidates)

    def state(tokens):
        """Upstream's latents; of PreJEPA's tokens the part that is not the action's embedding."""
        if 'prejepa' not in name:
            return tokens
        at = 394 if name == 'prejepa' else 384
        return torch.cat((tokens[..., :at], tokens[..., at + 10 :]), dim=-1)

    # Ours: frames one by one, then the same blocks.
    frames = [
        Observation(
            {'top': images[:, n : n + 1]},
            proprioception=sensed[:, n : n + 1] if card.proprioception else None,
        )
        for n in range(HISTORY)
    ]
    context = torch.stack([model.encode(frame) for frame in frames], dim=1)
    torch.testing.assert_close(context, state(info['emb'][:, 0]), **WITHIN)
    following = model.predict(context, actions[:, :HISTORY])
    torch.testing.assert_close(following, state(expected[:, 0]), **WITHIN)
    rolled = model.rollout(context, actions)
    torch.testing.assert_close(rolled, state(expected), **WITHIN)
    assert rolled.std() > 0.1  # what is compared is no constant
    print_difference(name, context, state(info['emb'][:, 0]), rolled, state(expected))

    # The cost ranks as upstream's does: its criterion, but for a constant factor.
    if hasattr(network, 'criterion'):  # 0.1.1; later versions compose it of GoalMSE
        goal = context[0, 0]
        if 'prejepa' in name:
            info['pixels_goal_emb'] = goal[None, None, None, :, :384]
            info['proprio_goal_emb'] = goal[None, None, None, 0, 384:]
            theirs = network.criterion(info, candidates)[:, 0]
        else:
            info['goal_emb'] = goal.expand(count, 1, 1, -1)
            theirs = network.criterion(info)[:, 0] / goal.numel()
        torch.testing.assert_close(model.cost(rolled[:, -1], goal), theirs, **WITHIN)


@pytest.mark.parametrize('name', ['lewm', 'prejepa'])
def test_weights_of_either_generation_of_transformers_load(name, upstream, tmp_path):
    network, source = upstream(name, tmp_path)
    older = {}
    for key, value in network.state_dict().items():
        key = re.sub(r'^encoder\.layers\.', 'encoder.encoder.layer.', key)
        if key.startswith(('encoder.encoder.', 'backbone.')):
            key = re.sub(r'attention\.q_proj', 'attention.attention.query', key)
            key = re.sub(r'attention\.k_proj', 'attention.attention.key', key)
            key = re.sub(r'attention\.v_proj', 'attention.attention.value', key)
            key = re.sub(r'attention\.o_proj', 'attention.output.dense', key)
        if key.startswith('encoder.encoder.'):
            key = re.sub(r'mlp\.fc1', 'intermediate.dense', key)
            key = re.sub(r'mlp\.fc2', 'output.dense', key)
        older[key] = value
    weights = source / 'weights.pt'
    newer = torch.load(weights, weights_only=True)
    weights.unlink()
    save_file(older, source / 'weights.safetensors')  # which is taken as well
    model = convert(source, write_card(tmp_path, card_of(name)), tmp_path / 'mine')
    for key, value in model.network.state_dict().items():
        assert torch.equal(value, newer[key]), key


def print_difference(name, context, theirs, rolled, expected):
    """The figures of docs/models.md; pytest shows them with -s."""
    for what, ours, other in (('latents', context, theirs), ('predictions', rolled, expected)):
        relative = (ours - other).abs().max() / other.abs().max()
        print(f'{name}: {what} within {relative:.1e} of the largest entry')


def test_the_command_writes_a_folder_that_drives(upstream, tmp_path):
    _, source = upstream('lewm', tmp_path)
    card = write_card(tmp_path, card_of('lewm'))
    arguments = [str(source), '--card', str(card), '--out', str(tmp_path / 'mine')]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert 'Nothing in the files was executed' in result.output
    assert 'set goal.tolerance' in result.output
    model = checkpoint.load(tmp_path / 'mine')
    assert {tick.status for tick in drive(model)} == {TickStatus.SOLVED, TickStatus.IN_BLOCK}
    again = CliRunner().invoke(command, arguments)
    assert again.exit_code == 1 and 'holds a checkpoint already' in again.output


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'history': 4}, 'history 4 is more than the 3 frames'),
        ({'action_block': 2}, 'config takes 10 numbers'),
        ({'latent_shape': [191]}, r'encode gives .*\(1, 192\)'),
        ({'cameras': {'top': {'height': 28, 'width': 56}}}, 'camera of 56x28 .* trained on 28x28'),
        ({'frames': 2}, 'one camera and one frame'),
        ({'architecture': {'action_mean': MEAN}}, "KeyError: 'action_std'"),
        ({'architecture': {'action_mean': MEAN, 'action_std': [0.0, 1.0]}}, 'action_std must be'),
        ({'architecture': {'action_mean': [0.0], 'action_std': STD}}, 'action_mean must be 2'),
        ({'architecture': {'action_mean': [math.nan, 0], 'action_std': STD}}, '2 finite numbers'),
        ({'architecture': {'action_mean': MEAN, 'action_std': [math.inf, 1]}}, '2 finite numbers'),
        ({'proprioception': [{'name': 'q', 'unit': 'rad'}]}, 'takes no proprioception'),
    ],
)
def test_a_card_that_does_not_fit_the_checkpoint_is_refused(upstream, tmp_path, changes, reason):
    _, source = upstream('lewm', tmp_path)
    card = write_card(tmp_path, {**card_of('lewm'), **changes})
    with pytest.raises(CardError, match=reason):
        convert(source, card, tmp_path / 'mine')
    assert not (tmp_path / 'mine').exists()


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def checkpoint_of(folder, config, weights):
    source = folder / 'run'
    source.mkdir()
    (source / 'config.json').write_text(json.dumps(config))
    (source / 'weights.pt').write_bytes(weights)
    return source


def test_a_pickle_among_the_weights_is_refused_and_not_executed(tmp_path):
    path, marker = tmp_path / 'weights.pt', tmp_path / 'code_was_run'
    for content in (Payload(marker), {'encoder.weight': Payload(marker)}):
        for write in (lambda what: path.write_bytes(pickle.dumps(what)),
                      lambda what: torch.save(what, path)):
            write(content)
            with pytest.raises(CheckpointError, match='was not read'):
                read_weights(path)
            assert not marker.exists()


@pytest.mark.parametrize('content', [[torch.zeros(1)], {'state_dict': {'a': torch.zeros(1)}}])
def test_a_file_that_is_no_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / 'weights.pt')
    with pytest.raises(CheckpointError, match='no state dict'):
        read_weights(tmp_path / 'weights.pt')


def test_damaged_weights_are_refused(tmp_path):
    for name in ('weights.pt', 'weights.safetensors'):
        (tmp_path / name).write_bytes(b'\x00' * 100)
        with pytest.raises(CheckpointError, match=name):
            read_weights(tmp_path / name)


@pytest.mark.parametrize(
    'config',
    [
        {'_target_': 'os.system', 'command': 'false'},
        {'_target_': 'stable_worldmodel.wm.utils.load_pretrained', 'name': 'a/b'},
        {'_target_': 'torch.nn.ModuleDict', 'modules': {'a': {'_target_': 'builtins.exec'}}},
        {'_target_': 'torch.nn.ModuleDict', 'modules': [{'_target_': 'torch.load'}]},
    ],
)
def test_nothing_is_called_because_a_configuration_names_it(tmp_path, config):
    source = checkpoint_of(tmp_path, config, b'')
    with pytest.raises(CheckpointError, match='nothing else is called'):
        convert(source, write_card(tmp_path, card_of('lewm')), tmp_path / 'mine')


def test_a_configuration_of_something_else_is_refused(tmp_path):
    config = {'_target_': 'torch.nn.LayerNorm', 'normalized_shape': 2}
    source = checkpoint_of(tmp_path, config, b'')
    with pytest.raises(CardError, match='makes a LayerNorm'):
        convert(source, write_card(tmp_path, card_of('lewm')), tmp_path / 'mine')


def test_a_checkpoint_that_is_not_whole_is_refused(tmp_path):
    card, source = write_card(tmp_path, card_of('lewm')), tmp_path / 'run'
    source.mkdir()
    with pytest.raises(CheckpointError, match='0 files of weights'):
        convert(source, card, tmp_path / 'mine')
    (source / 'weights.pt').write_bytes(b'')
    with pytest.raises(CheckpointError, match=r'config\.json is missing'):
        convert(source, card, tmp_path / 'mine')


def test_a_library_that_is_missing_is_named_with_its_cure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    source = checkpoint_of(tmp_path, CONFIGS['lewm'], b'')
    with pytest.raises(CheckpointError, match='pip install stable-worldmodel transformers'):
        convert(source, write_card(tmp_path, card_of('lewm')), tmp_path / 'mine')


def test_the_card_of_the_documentation_is_what_the_command_takes():
    text = (Path(__file__).resolve().parent.parent / 'docs' / 'models.md').read_text()
    values = json.loads(text.split('<!-- card -->')[1].split('```')[1].removeprefix('json'))
    card = ModelCard.from_dict(values)
    assert (card.latent_shape, card.action_block, card.history) == ((192,), 5, 3)
    assert set(card.architecture) == {'action_mean', 'action_std'}
