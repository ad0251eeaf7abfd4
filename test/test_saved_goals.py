# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Goals in a folder: what was saved comes back, and nothing is lost, or written elsewhere."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('PIL', reason='no pictures from files: pip install .[ros]')
from grasp_ros.control.history import Frame
from grasp_ros.errors import GoalError, UnknownGoalError
from grasp_ros.node import saved_goals
from grasp_ros.node.saved_goals import SavedGoals
from grasp_ros.world_models.base import ActionSpec, CameraSpec, ModelCard, SignalSpec

SPEC = CameraSpec(height=3, width=2)
TOP = ModelCard(
    name='top',
    architecture={'type': 'none'},
    cameras={'top': SPEC},
    actions=(ActionSpec('linear.x', 'm/s', -1.0, 1.0),),
    latent_shape=(1,),
    model_step_sec=0.1,
)
ARM = replace(
    TOP,
    cameras={'left': SPEC, 'right': SPEC},
    proprioception=(SignalSpec('elbow', 'rad'), SignalSpec('wrist', 'rad')),
)


def seen(card, shade):
    """A frame of a card, with colours that tell red from blue."""
    images = {
        name: np.full((3, 2, 3), [shade, n, 200], dtype=np.uint8)
        for n, name in enumerate(card.cameras)
    }
    signals = np.array([0.1, -shade]) if card.proprioception else None
    return Frame(images, 7.0, signals)


def is_same(frame, other):
    return (
        frame.images.keys() == other.images.keys()
        and all(np.array_equal(frame.images[name], other.images[name]) for name in frame.images)
        and np.array_equal(frame.proprioception, other.proprioception)  # of None as well
    )


@pytest.mark.parametrize('card', [TOP, ARM])
def test_a_goal_comes_back_as_it_was_seen(card, tmp_path):
    goals = SavedGoals(tmp_path / 'made' / 'when needed', card)
    assert goals.names() == []
    for n, name in enumerate(('shelf', 'Tür 2', 'v1.0+b_c')):
        assert goals.save(name, seen(card, n), overwrite=False).exists()
    assert goals.names() == ['Tür 2', 'shelf', 'v1.0+b_c']
    for n, name in enumerate(('shelf', 'Tür 2', 'v1.0+b_c')):
        assert is_same(goals.load(name), seen(card, n))


def test_a_goal_is_files_that_people_can_look_at(tmp_path):
    assert SavedGoals(tmp_path, TOP).save('shelf', seen(TOP, 1), overwrite=False) == (
        tmp_path / 'shelf.png'
    )
    SavedGoals(tmp_path, ARM).save('shelf', seen(ARM, 1), overwrite=False)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*.*'))
    assert files == [
        'shelf.png', 'shelf/left.png', 'shelf/proprioception.json', 'shelf/right.png'
    ]  # fmt: skip
    signals = json.loads((tmp_path / 'shelf' / 'proprioception.json').read_text())
    assert signals == {'elbow': 0.1, 'wrist': -1.0}


@pytest.mark.parametrize('card', [TOP, ARM])
def test_nothing_is_overwritten_unless_that_is_asked_for(card, tmp_path):
    goals = SavedGoals(tmp_path, card)
    goals.save('shelf', seen(card, 1), overwrite=False)
    with pytest.raises(GoalError, match='exists: choose another name, or set overwrite'):
        goals.save('shelf', seen(card, 2), overwrite=False)
    assert is_same(goals.load('shelf'), seen(card, 1))
    goals.save('shelf', seen(card, 2), overwrite=True)
    assert is_same(goals.load('shelf'), seen(card, 2))


@pytest.mark.parametrize('card', [TOP, ARM])
def test_a_disk_that_is_full_costs_no_goal_that_was_there(card, tmp_path, monkeypatch):
    goals = SavedGoals(tmp_path, card)
    goals.save('shelf', seen(card, 1), overwrite=False)
    written = []

    def write_bytes(path, content):
        written.append(path)
        with path.open('wb') as file:
            file.write(content[:10])
        if len(written) == len(card.cameras):
            raise OSError(28, 'No space left on device')

    monkeypatch.setattr(saved_goals.Path, 'write_bytes', write_bytes)
    with pytest.raises(GoalError, match='No space left'):
        goals.save('shelf', seen(card, 2), overwrite=True)
    assert is_same(goals.load('shelf'), seen(card, 1))
    assert not list(tmp_path.rglob('*.part'))


@pytest.mark.parametrize(
    'name',
    ['', '.', '..', '../shelf', 'a/b', '/shelf', 'a\\b', '.hidden', ' a', 'a\n', 'a\0b', 'a' * 65],
)
def test_a_name_cannot_lead_out_of_the_folder(name, tmp_path):
    folder = tmp_path / 'goals'
    goals = SavedGoals(folder, TOP)
    goals.save('shelf', seen(TOP, 1), overwrite=False)
    (tmp_path / 'shelf.png').write_bytes((folder / 'shelf.png').read_bytes())
    (folder / '.hidden.png').write_bytes((folder / 'shelf.png').read_bytes())
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(GoalError, match='is no name for a goal: write letters'):
        goals.save(name, seen(TOP, 2), overwrite=True)
    with pytest.raises(UnknownGoalError):
        goals.load(name)
    assert sorted(tmp_path.rglob('*')) == before


def test_an_unknown_name_is_refused_with_those_that_there_are(tmp_path):
    goals = SavedGoals(tmp_path, TOP)
    with pytest.raises(UnknownGoalError, match='there are: none'):
        goals.load('shelf')
    for n in range(25):
        goals.save(f'g{n:02}', seen(TOP, n), overwrite=False)
    with pytest.raises(UnknownGoalError, match='no goal "shelf" in .*: g00, .*g19 and 5 more'):
        goals.load('shelf')


def test_a_file_that_is_no_good_is_refused_with_its_name_and_the_reason(tmp_path):
    goals = SavedGoals(tmp_path, ARM)
    goals.save('shelf', seen(ARM, 1), overwrite=False)
    left, signals = tmp_path / 'shelf' / 'left.png', tmp_path / 'shelf' / 'proprioception.json'
    png = left.read_bytes()
    small = SavedGoals(tmp_path, replace(ARM, cameras={'left': CameraSpec(9, 9), 'right': SPEC}))
    with pytest.raises(GoalError, match='left.png: PNG of 2x3 pixels, the model needs 9x9'):
        small.load('shelf')
    for content, reason in ((png[:-9], 'broken PNG'), (b'GIF89a', 'neither a JPEG nor a PNG')):
        left.write_bytes(content)
        with pytest.raises(GoalError, match=f'left.png: .*{reason}'):
            goals.load('shelf')
    left.write_bytes(png)
    for text in ('', '[1, 2]', '{"elbow": 0.1}', '{"elbow": "a", "wrist": 0}', '[' * 100_000):
        signals.write_text(text)
        with pytest.raises(GoalError, match='a number for each of elbow, wrist'):
            goals.load('shelf')
    signals.write_text('{"elbow": NaN, "wrist": 0}')
    with pytest.raises(GoalError, match='not finite'):
        goals.load('shelf')
    signals.unlink()
    with pytest.raises(GoalError, match='No such file'):
        goals.load('shelf')
