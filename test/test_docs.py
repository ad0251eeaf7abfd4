# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the pages name exists: parameters, reasons, commands, and what their links lead to."""

import re
from pathlib import Path

import pytest

from grasp_ros.cli import COMMANDS
from grasp_ros.node import tables

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
PARAMETERS = {p.name for table in tables.TABLES.values() for p in table}
GROUPS = {name.split('.')[0] for name in PARAMETERS if '.' in name}


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request):
    return request.param


def anchors(text):
    """Of the headings of a page, as GitHub makes them."""
    headings = re.findall(r'^#+ (.*)$', text, re.MULTILINE)
    kept = (re.sub(r'[^\w\- ]', '', heading.lower()) for heading in headings)
    return {heading.replace(' ', '-') for heading in kept}


def test_links_lead_somewhere(page):
    for link in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
        if link.startswith('http'):
            continue
        file, _, anchor = link.partition('#')
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_parameters_that_are_named_exist(page):
    for name in re.findall(r'`([a-z]+(?:\.[a-z_]+)+)', page.read_text()):
        if name.split('.')[0] in GROUPS:
            assert name in PARAMETERS or name.endswith(('_', '.x', '.safetensors', '.json')), name


def test_commands_that_are_named_exist(page):
    named = set(re.findall(r'grasp-ros ([a-z][a-z-]*)', page.read_text()))
    assert named <= set(COMMANDS), named - set(COMMANDS)


def test_every_reason_for_a_stop_is_explained_and_exists():
    text = (ROOT / 'docs' / 'troubleshooting.md').read_text()
    status = (ROOT / 'msg' / 'SolverStatistics.msg').read_text()
    gate = (ROOT / 'msg' / 'GateStatus.msg').read_text()
    reasons = set(re.findall(r'^uint8 REASON_(\w+)=[1-9]', gate, re.MULTILINE))
    codes = re.findall(r'^uint8 (\w+)=(\d+)', status, re.MULTILINE)
    stops = {name for name, value in codes if not name.startswith('DROP_') and int(value) >= 10}
    explained = set(re.findall(r'`([A-Z][A-Z_]+)`', text))
    ends_by_itself = {'SHUTDOWN', 'INACTIVE', 'GOAL_REACHED'}
    assert reasons | stops <= explained | ends_by_itself
