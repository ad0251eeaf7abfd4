# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models of facebookresearch/jepa-wms, built by its own code: behind the contract the same.

Needs a clone of it, named by JEPA_WMS_CLONE, and tensordict, torchvision and einops. Predictors
and what calls them are upstream's, small and with random weights; the encoder, which is frozen
there and comes from a hub, is a stand-in.
"""

import os
import sys
from unittest import mock

import pytest
import torch
from ticks import drive
from torch import nn

from grasp_ros.control.controller import TickStatus
from grasp_ros.world_models import contract
from grasp_ros.world_models.adapters.jepa_wms import POSE, JepaWm, moved_pose
from grasp_ros.world_models.base import ModelCard, Observation

CLONE = os.environ.get('JEPA_WMS_CLONE')
SIZE, GRID, WIDTH, BLOCK, WINDOW, STEPS = 56, 4, 48, 5, 2, 5
MEAN, STD, SENSED = [-0.01, 0.02], [0.2, 0.25], 4
WITHIN = {'rtol': 1e-4, 'atol': 1e-5}
# As in upstream's configs/evals; `noprop` is what its DROID models are.
KINDS = {
    'jepa-wm': {
        'pred_type': 'AdaLN', 'action_conditioning': 'token', 'action_encoder_inpred': True,
        'proprio_tokens': 0, 'proprio_emb_dim': 16, 'use_rope': True, 'action_emb_dim': 0,
    },
    'jepa-wm noprop': {
        'pred_type': 'AdaLN', 'action_conditioning': 'token', 'action_encoder_inpred': True,
        'proprio_tokens': 0, 'proprio_emb_dim': 0, 'use_rope': True, 'action_emb_dim': 0,
    },
    'dino-wm': {
        'pred_type': 'dino_wm', 'action_conditioning': 'feature', 'action_encoder_inpred': False,
        'proprio_tokens': 0, 'proprio_emb_dim': 10, 'action_tokens': 0, 'action_emb_dim': 10,
    },
    'dino-wm noprop': {
        'pred_type': 'dino_wm', 'action_conditioning': 'feature', 'action_encoder_inpred': False,
        'proprio_tokens': 0, 'proprio_emb_dim': 0, 'action_tokens': 0, 'action_emb_dim': 10,
    },
    'vjepa2-ac noprop': {
        'pred_type': 'vjepa2_ac', 'action_conditioning': 'token', 'action_encoder_inpred': True,
        'proprio_encoding': 'token', 'proprio_tokens': 0, 'proprio_emb_dim': 0,
        'use_rope': True, 'action_emb_dim': 0, 'normalize_reps': True,
    },
    # As vjepa2_ac_oss: the pose is a token, and is integrated from the actions.
    'vjepa2-ac': {
        'pred_type': 'vjepa2_ac', 'action_conditioning': 'token', 'action_encoder_inpred': True,
        'proprio_encoding': 'token', 'proprio_tokens': 1, 'proprio_emb_dim': 0,
        'proprio_encoder_inpred': True, 'use_rope': True, 'action_emb_dim': 0,
        'normalize_reps': True,
    },
}  # fmt: skip


class Encoder(nn.Module):
    """In the place of DINOv2: patch tokens."""

    patch_size, num_heads = 14, 4

    def __init__(self, **_):
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 14, stride=14)

    def forward(self, pixels):
        return self.patches(pixels).flatten(2).transpose(1, 2)


@pytest.fixture(scope='module')
def upstream():
    """Make one of the kinds by upstream's own code: its EncPredWM and its preprocessor."""
    if not CLONE:
        pytest.skip('JEPA_WMS_CLONE names no clone of facebookresearch/jepa-wms')
    for library in ('tensordict', 'torchvision', 'einops'):
        pytest.importorskip(library, reason=f'{library} is not installed')
    # Of data sets, decoders and configuration files, which are not used here.
    absent = ('decord', 'h5py', 'lpips', 'pandas', 'ruamel', 'ruamel.yaml')
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(CLONE)
        for name in absent:
            patch.setitem(sys.modules, name, mock.MagicMock())
        from app.plan_common.datasets.preprocessor import Preprocessor
        from app.vjepa_wm import utils
        from app.vjepa_wm.modelcustom.simu_env_planning.vit_enc_preds import EncPredWM
        from app.vjepa_wm.video_wm import VideoWM

        patch.setattr(utils, 'DinoEncoder', Encoder)
        yield lambda kind: build(kind, utils.init_video_model, VideoWM, EncPredWM, Preprocessor)


def build(kind, init_video_model, VideoWM, EncPredWM, Preprocessor):
    from torchvision.transforms import Normalize

    settings = {'proprio_encoding': 'feature', 'action_tokens': 1, **KINDS[kind]}
    uses = settings['proprio_tokens'] > 0 or settings['proprio_emb_dim'] > 0
    has_pose = settings.get('proprio_encoder_inpred', False)
    size, block, sensed = (POSE, 1, POSE) if has_pose else (2, BLOCK, SENSED)
    numbers = {'action_dim': size * block, 'proprio_dim': sensed if uses else None}
    normalize_reps = settings.pop('normalize_reps', False)
    torch.manual_seed(0)
    predictor, encoder, action_encoder, proprio_encoder = init_video_model(
        device='cpu', img_size=SIZE, enc_type='dino', pred_depth=2, pred_embed_dim=WIDTH,
        embed_dim=WIDTH, pred_num_heads=4, num_frames_pred=4, use_action=True, use_proprio=uses,
        **numbers, **settings,
    )  # fmt: skip
    world = VideoWM(
        encoder=encoder, predictor=predictor, action_encoder=action_encoder,
        proprio_encoder=proprio_encoder, enc_type='dino', pred_type=settings['pred_type'],
        grid_size=GRID, tubelet_size_enc=1, img_size=SIZE, use_action=True, use_proprio=uses,
        action_skip=1, frameskip=block, batchify_video=True, normalize_reps=normalize_reps,
        action_tokens=settings['action_tokens'], proprio_tokens=settings['proprio_tokens'],
        action_conditioning=settings['action_conditioning'], device='cpu',
        action_encoder_inpred=settings['action_encoder_inpred'],
        proprio_encoding=settings['proprio_encoding'],
        proprio_encoder_inpred=has_pose, **numbers,
    )  # fmt: skip
    for value in world.parameters():  # some layers start as no-ops
        value.data += 0.05 * torch.randn_like(value)
    preprocessor = Preprocessor(
        action_mean=torch.zeros(POSE) if has_pose else torch.tensor(MEAN),
        action_std=torch.ones(POSE) if has_pose else torch.tensor(STD), state_mean=None,
        state_std=None, proprio_mean=torch.zeros(sensed) if has_pose else torch.ones(sensed),
        proprio_std=torch.ones(sensed) if has_pose else 2 * torch.ones(sensed),
        transform=Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    )  # fmt: skip
    model = EncPredWM(
        world, action_dim=size * block, preprocessor=preprocessor, ctxt_window=WINDOW,
        proprio_mode='compute_new_pose' if has_pose else 'predict_proprio',
    )
    return model.eval().requires_grad_(False), preprocessor


def card_of(kind, **changes):
    felt = KINDS[kind]['proprio_emb_dim']
    has_pose = KINDS[kind].get('proprio_encoder_inpred', False)
    bounds = {'unit': 'm/s', 'low': -0.5, 'high': 0.5}
    size, block, sensed = (POSE, 1, POSE) if has_pose else (2, BLOCK, SENSED if felt else 0)
    return ModelCard.from_dict({
        'name': kind, 'architecture': {},
        'cameras': {'top': {'height': SIZE, 'width': SIZE}},
        'actions': [{'name': f'a{n}', **bounds} for n in range(size)],
        'proprioception': [{'name': f'p{n}', 'unit': 'm'} for n in range(sensed)],
        'latent_shape': [GRID**2 + has_pose, WIDTH + felt],
        'model_step_sec': 0.5, 'action_block': block, 'history': WINDOW, **changes,
    })  # fmt: skip


@pytest.mark.parametrize('kind', KINDS)
def test_it_computes_what_upstream_computes(kind, upstream):
    network, preprocessor = upstream(kind)
    model = JepaWm(card_of(kind), network, preprocessor).eval().requires_grad_(False)
    contract.check(model)
    draw = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (1, 1, SIZE, SIZE, 3), dtype=torch.uint8, generator=draw)
    card = model.card
    sensed = torch.randn(1, 1, len(card.proprioception), generator=draw)
    actions = torch.rand(3, STEPS, card.action_block, card.action_size, generator=draw) - 0.5
    has_proprio = bool(card.proprioception)
    has_pose = kind == 'vjepa2-ac'
    if has_pose:
        sensed[..., -1] = 0.5  # of the gripper, which some actions bring to its ends

    # Upstream's side, as its planner calls it: one frame, then STEPS normalised blocks.
    seen = image.permute(0, 1, 4, 2, 3)
    start = network.encode({'visual': seen, 'proprio': sensed} if has_proprio else seen)
    blocks = preprocessor.normalize_actions(actions).flatten(2).transpose(0, 1)
    with torch.no_grad():
        rolled = network.unroll(start, blocks)

    def tokens(latents):  # [T, N, 1, grid, grid, D], and [T, N, patches, P]
        if not has_proprio:
            return latents.flatten(2, 4)
        if has_pose:
            pose = nn.functional.pad(latents['proprio'], (0, WIDTH - POSE))
            return torch.cat((latents['visual'].flatten(2, 4), pose.unsqueeze(2)), dim=2)
        return torch.cat((latents['visual'].flatten(2, 4), latents['proprio']), dim=-1)

    expected = tokens(rolled).transpose(0, 1)  # s_0 ... s_STEPS
    observation = Observation({'top': image}, proprioception=sensed if has_proprio else None)
    first = model.encode(observation)
    torch.testing.assert_close(first.expand(3, -1, -1), expected[:, 0], **WITHIN)
    # From its second prediction on upstream looks back on two frames, as we always do.
    ours = model.rollout(expected[:, :2], actions)
    torch.testing.assert_close(ours, expected[:, 2:], **WITHIN)
    assert ours.std() > 0.1 and (ours[:, 0] - ours[:, -1]).abs().max() > 1e-3
    relative = (ours - expected[:, 2:]).abs().max() / expected.abs().max()
    print(f'{kind}: predictions within {relative:.1e} of the largest entry')

    # The cost is upstream's L2 objective.
    goal = expected[0, 0]
    theirs = (expected[:, -1, :, :WIDTH] - goal[:, :WIDTH]).square()
    theirs = (theirs[:, :-1] if has_pose else theirs).mean(dim=(1, 2))
    if has_pose:
        felt = (expected[:, -1, -1, :POSE] - goal[-1, :POSE]).square().mean(dim=1)
        theirs = theirs + 0.1 * felt
    elif has_proprio:
        felt = (expected[:, -1, :, WIDTH:] - goal[:, WIDTH:]).square().mean(dim=(1, 2))
        theirs = theirs + 0.1 * felt
    torch.testing.assert_close(model.cost(expected[:, -1], goal), theirs, **WITHIN)


def test_it_drives(upstream):
    kind = 'jepa-wm noprop'
    model = JepaWm(card_of(kind), *upstream(kind)).eval().requires_grad_(False)
    assert {tick.status for tick in drive(model)} == {TickStatus.SOLVED, TickStatus.IN_BLOCK}


@pytest.mark.parametrize(
    ('kind', 'changes', 'reason'),
    [
        ('jepa-wm', {'history': 3}, 'history 3 is more than the 2'),
        ('jepa-wm', {'action_block': 2}, 'takes 10 numbers'),
        ('jepa-wm', {'frames': 2}, 'one camera and one frame'),
        ('jepa-wm', {'latent_shape': [GRID**2 * WIDTH]}, r'must be \[patches, entries'),
        ('jepa-wm', {'latent_shape': [GRID**2, 4]}, 'those of the proprioception'),
        ('jepa-wm', {'proprioception': []}, 'do not agree'),
        ('jepa-wm noprop', {'proprioception': [{'name': 'x', 'unit': 'm'}]}, 'do not agree'),
    ],
)
def test_a_card_that_does_not_fit_is_refused(upstream, kind, changes, reason):
    with pytest.raises(ValueError, match=reason):
        JepaWm(card_of(kind, **changes), *upstream(kind))


def test_proprioception_of_another_kind_is_refused(upstream):
    network, preprocessor = upstream('jepa-wm')
    network.proprio_mode = 'compute_new_pose'
    with pytest.raises(ValueError, match='a token of its own that the network predicts'):
        JepaWm(card_of('jepa-wm'), network, preprocessor)


def test_a_pose_needs_its_numbers_and_its_token(upstream):
    made = upstream('vjepa2-ac')
    for changes, reason in (
        ({'latent_shape': [GRID**2, WIDTH]}, 'the pose behind the'),
        ({'proprioception': [{'name': 'x', 'unit': 'm'}]}, '7 numbers each'),
    ):
        with pytest.raises(ValueError, match=reason):
            JepaWm(card_of('vjepa2-ac', **changes), *made)


def test_patches_are_brought_back_to_the_layer_norm_and_poses_are_left_alone(upstream):
    model = JepaWm(card_of('vjepa2-ac'), *upstream('vjepa2-ac')).eval().requires_grad_(False)
    seen = contract.black(model.card, 1, model.device)
    seen.images['top'].random_(0, 256)
    latent = model.encode(seen)
    assert model.has_manifold and torch.allclose(model.project(latent), latent, atol=1e-4)
    pushed = model.project(latent + 0.3)
    assert torch.allclose(pushed[:, -1], latent[:, -1] + 0.3)
    assert torch.allclose(pushed[:, :-1], latent[:, :-1], atol=1e-3)


def test_a_pose_moves_as_rotations_do():
    """Against SciPy's rotations, by which upstream integrates; needs no upstream."""
    rotation = pytest.importorskip('scipy.spatial.transform').Rotation
    draw = torch.Generator().manual_seed(2)
    pose, change = (torch.randn(50, POSE, generator=draw, dtype=torch.float64) for _ in range(2))
    change.requires_grad_(True)
    after = moved_pose(pose, change)
    turned = (rotation.from_euler('xyz', change[:, 3:6].detach())
              * rotation.from_euler('xyz', pose[:, 3:6])).as_euler('xyz')
    torch.testing.assert_close(after[:, 3:6].detach(), torch.from_numpy(turned))
    torch.testing.assert_close(after[:, :3], pose[:, :3] + change[:, :3])
    assert ((after[:, 6] >= 0) & (after[:, 6] <= 1)).all()
    assert torch.isfinite(torch.autograd.grad(after.sum(), change)[0]).all()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rough = moved_pose(pose.float(), change.detach().float())
    torch.testing.assert_close(rough, after.detach().float(), atol=1e-5, rtol=1e-5)
