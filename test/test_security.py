# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Nothing that is read is executed, and the nodes use the network for what the policy names."""

import ast
import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parent.parent
POLICY = ROOT / 'config' / 'sros2_policy.xml'
NODES = ('sim_node', 'gate_node', 'mpc_node', 'excite_node')
# By `image_transport` the controller listens to one of two topics, and the gate to more where it
# sends trajectories; the policy allows all. What each leaves out:
VARIANTS = {
    'raw': {
        'mpc_node': {'/image_raw/compressed'},
        'gate_node': {'/joint_states', '/planned_actions'},
    },
    'compressed': {'mpc_node': {'/image_raw'}},
}
TRAJECTORY = {'gate__output_type': 'JointTrajectory', 'gate__output_joints': list('abcdef')}
# Modules that execute what they read, or that speak to the network past DDS.
FORBIDDEN_MODULES = {
    'cloudpickle', 'code', 'dill', 'ftplib', 'http', 'httpx', 'joblib', 'marshal', 'pickle',
    'requests', 'runpy', 'shelve', 'smtplib', 'socket', 'socketserver', 'urllib', 'urllib3',
}  # fmt: skip
FORBIDDEN_BUILTINS = {'compile', 'eval', 'exec', '__import__'}
# On the left who offers it. Of yaml all but the safe ones.
FORBIDDEN_CALLS = {
    ('torch', 'load'), ('torch', 'save'), ('torch', 'hub'), ('os', 'system'), ('os', 'popen'),
    ('np', 'load'), ('numpy', 'load'), ('pandas', 'read_pickle'),
}  # fmt: skip
# The fault table makes a pickle that would run code, to see it refused.
ATTACKS = {
    'grasp_ros/reliability/model_faults.py': {'pickle', 'pickle.dumps', 'pickle.loads'},
}
SAFE_YAML = {'YAMLError', 'safe_dump', 'safe_load'}


def is_of_weights_only(node):
    """Whether a part of a source is ``torch.load(..., weights_only=True)``, literally."""
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) == 'torch.load'
        and any(
            keyword.arg == 'weights_only' and ast.unparse(keyword.value) == 'True'
            for keyword in node.keywords
        )
    )


def problems(source):
    """What in a Python source could execute data or open a connection; as (line, what)."""
    found, tree = [], ast.parse(source)
    safe = {id(node.func) for node in ast.walk(tree) if is_of_weights_only(node)}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ''
            names = [module, *(f'{module}.{alias.name}' for alias in node.names)]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if id(node) in safe:
                continue
            names = [f'{node.value.id}.{node.attr}']
        elif isinstance(node, ast.Name) and node.id in FORBIDDEN_BUILTINS:
            found.append((node.lineno, node.id))
        elif isinstance(node, ast.keyword) and node.arg in ('allow_pickle', 'shell'):
            found.append((node.value.lineno, node.arg))
        for name in names:
            first, _, rest = name.partition('.')
            is_forbidden = first in FORBIDDEN_MODULES or (first, rest) in FORBIDDEN_CALLS
            if is_forbidden or (first == 'yaml' and rest and rest not in SAFE_YAML):
                found.append((node.lineno, name))
    return found


@pytest.mark.parametrize(
    'source',
    [
        'import pickle',
        'from pickle import loads as innocent',
        'import urllib.request',
        'torch.load(path)',
        'torch.load(path, weights_only=False)',
        'torch.load(path, weights_only=flag)',
        'torch.load(path, **settings)',
        'torch.load(torch.load(path), weights_only=True)',
        'from torch import load',
        'yaml.load(text, Loader=yaml.Loader)',
        'from yaml import unsafe_load',
        'np.load(path, allow_pickle=True)',
        'eval(text)',
        'f = exec',
        'subprocess.run(text, shell=True)',
    ],
)
def test_the_search_finds_what_it_is_for(source):
    assert problems(source)


def test_nothing_in_the_package_executes_data_or_opens_a_connection():
    sources = [*ROOT.glob('grasp_ros/**/*.py'), *ROOT.glob('launch/*.py')]
    assert len(sources) > 50
    found = {str(path.relative_to(ROOT)): problems(path.read_text()) for path in sources}
    for path, names in ATTACKS.items():
        found[path] = [(line, what) for line, what in found[path] if what not in names]
    assert not {path: what for path, what in found.items() if what}


def resolved(name, profile):
    """A name of the policy as it stands in the graph."""
    namespace = profile.get('ns').rstrip('/')
    if name.startswith('~'):
        return f'{namespace}/{profile.get("node")}{name[1:]}'
    return name if name.startswith('/') else f'{namespace}/{name}'


def allowed(node):
    """What the policy allows a node: publish, subscribe, reply, request -> names."""
    (profile,) = [p for p in ElementTree.parse(POLICY).iter('profile') if p.get('node') == node]
    rules = {'publish': set(), 'subscribe': set(), 'reply': set(), 'request': set()}
    for group in profile:
        ((rule, qualifier),) = group.items()
        assert qualifier == 'ALLOW'
        names = {resolved(entry.text, profile) for entry in group}
        if rule == 'execute':  # as sros2 translates it
            rules['publish'] |= {f'{n}/_action/{t}' for n in names for t in ('feedback', 'status')}
            services = ('cancel_goal', 'get_result', 'send_goal')
            rules['reply'] |= {f'{n}/_action/{service}' for n in names for service in services}
        else:
            rules[rule] |= names
    return rules


def needed(node, transport):
    """What of that a node makes use of in a variant."""
    rules = allowed(node)
    unheard = VARIANTS[transport].get(node, set())
    assert unheard <= rules['subscribe']
    rules['subscribe'] -= unheard
    if node == 'mpc_node' and importlib.util.find_spec('sensor_msgs_py') is None:
        rules['publish'].remove('/candidates')
    return rules


def used(client, node):
    """The same of a running node, from the graph."""
    kinds = {
        'publish': client.get_publisher_names_and_types_by_node,
        'subscribe': client.get_subscriber_names_and_types_by_node,
        'reply': client.get_service_names_and_types_by_node,
        'request': client.get_client_names_and_types_by_node,
    }
    return {kind: {name for name, _ in names(node, '/')} for kind, names in kinds.items()}


@pytest.mark.parametrize('transport', VARIANTS)
def test_the_policy_names_what_the_running_nodes_use_and_nothing_else(tmp_path, transport):
    reason = 'no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]'
    pytest.importorskip('grasp_ros.msg', reason=reason)
    pytest.importorskip('mujoco', reason='no embedded world: pip install .[sim]')
    from grasp_ros.reliability.rig import Rig, RigError, open_client

    with open_client() as client:
        rig = Rig(client, '', tmp_path)
        try:
            output = {} if transport == 'raw' else TRAJECTORY
            for node in NODES:
                # With simulated time they listen to /clock as well.
                rig.start(node, use_sim_time=True, image_transport=transport, **output)
            rig.wait_for(lambda: set(NODES) <= set(client.get_node_names()), 'the nodes')
            rig.wait_for(lambda: rig.state() == 'active', 'the controller')
            for node in NODES:
                # Discovery brings one endpoint after the other.
                rig.wait_for(
                    lambda n=node: needed(n, transport) == used(client, n), f'{node} as allowed'
                )
        except RigError as error:
            differences = [
                f'{node} may {rule}, against what it does: {sorted(names ^ does)}'
                for node in NODES
                for (rule, names), does in zip(
                    needed(node, transport).items(), used(client, node).values()
                )
                if names != does
            ]
            raise AssertionError('\n'.join(differences)) from error
        finally:
            rig.close()


def test_the_policy_keeps_the_schema_of_sros2():
    policy = pytest.importorskip('sros2.policy', reason='sros2 comes with ROS 2 only')
    policy.load_policy(POLICY)
