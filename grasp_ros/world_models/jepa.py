# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A small joint-embedding predictive architecture: encoder, head, predictor, probe.

The encoder gives features of a picture, the head makes the latent from them. A linear head gives
the latent ``z`` in which encoder and predictor were trained jointly. A metric head, an MLP, gives
``phi``, in which Euclidean distance grows with the steps to go (Park, Kreiman, Levine,
"Foundation Policies with Hilbert Representations", 2024). It reads the features and not ``z``,
because the few entries of ``z`` keep a third of the features' accuracy of place.

Where a robot has inertia one frame is no state. The latent of two frames, a model step apart, is
``s_t = (h(f_t), kappa (h(f_t) - h(f_t-1)))`` with either head h: the second part is zero for a
robot at rest, and is the way that the robot makes in kappa model steps at its present speed.

Where the walls differ from place to place the latent has a part ``w`` for what does not move
beside the ``z`` of what does: ``s = (z, w)``, the cost sees ``z`` alone.

The predictor is a residual MLP, ``F(s, a) = s + m(s, a)``, or ``(z + B a + m(z, w, a), w)``, small
enough for its pullback to be written by hand. The probe reads the robot's place for pictures and
reports; it controls nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from grasp_ros.world_models.base import LatentModel, ModelCard, Observation


class Encoder(nn.Module):
    """Pictures to features: three convolutions and a layer with batch normalisation.

    The normalisation is what keeps joint training from collapsing.

    :param size: width and height of the picture, pixels, divisible by 16
    :param channels: of the three convolutions
    :param width: number of features
    :raises ValueError: for a size or channels that do not fit
    """

    def __init__(self, *, size: int, channels: tuple[int, ...], width: int):
        super().__init__()
        if size % 16 or len(channels) != 3:
            raise ValueError(f'the encoder needs a size divisible by 16 and 3 channel counts, '
                             f'got {size} and {channels}')
        first, second, third = channels
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, first, 6, stride=4, padding=1), nn.SiLU(),
            nn.Conv2d(first, second, 4, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(second, third, 4, stride=2, padding=1), nn.SiLU(),
        )
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(third * (size // 16) ** 2, width), nn.BatchNorm1d(width),
            nn.SiLU(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """
        :param images: uint8 ``[N, size, size, 3]``, rgb
        :return: ``[N, width]``
        """
        return self.features(self.convolutions(_pixels(images)))


class ColourEncoder(nn.Module):
    """Pictures to places in them: where each of so many colours has its centre.

    A map is the softmax over the picture, shrunk by half, of what a small network makes of each
    pixel's colour, and gives its centre of mass (as in Levine et al., "End-to-End Training of Deep
    Visuomotor Policies", 2016, there of convolutions). A linear head of these is linear in where
    things are, so that a latent can be filled with nothing else: a thing of two colours shows its
    turn.

    :param size: width and height of the picture, pixels, divisible by 2
    :param colours: number of maps
    :raises ValueError: for a size that does not fit
    """

    _contrast = 6.0, 40.0
    """Times the usual weights of the last layer at the start, from the first map to the last: a
    map of everything has no place, and only a sharp one sees a thing of few pixels alone."""

    def __init__(self, *, size: int, colours: int):
        super().__init__()
        if size % 2:
            raise ValueError(f'the encoder of colours needs a size divisible by 2, got {size}')
        self.maps = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, colours, 1), nn.SiLU(),
                                  nn.Conv2d(colours, colours, 1))
        with torch.no_grad():
            self.maps[-1].weight.mul_(
                torch.linspace(*self._contrast, colours).view(-1, 1, 1, 1))
        side = torch.linspace(-1, 1, size // 2)
        rows, columns = torch.meshgrid(side, side, indexing='ij')
        self.register_buffer('places', torch.stack((columns, rows), dim=-1).view(-1, 2))
        self.features = nn.BatchNorm1d(2 * colours)

    def forward(self, images: Tensor) -> Tensor:
        """
        :param images: uint8 ``[N, size, size, 3]``, rgb
        :return: ``[N, 2 colours]``
        """
        return self.features(self.centres(images))

    def centres(self, images: Tensor) -> Tensor:
        """The same before they are normalised: -1 to 1 in the picture, x and y of each colour."""
        weights = self.maps(_pixels(images)).flatten(2).softmax(dim=2)
        return (weights @ self.places).flatten(1)


def _pixels(images: Tensor) -> Tensor:
    """uint8 ``[N, height, width, 3]`` as float ``[N, 3, height, width]`` about zero."""
    return images.permute(0, 3, 1, 2).to(torch.float32).mul_(1 / 64).sub_(2.0)


class Predictor(nn.Module):
    """One model step in latent space, ``s + m(s, a)``.

    With a static part it is ``z + B a + m(z, w, a)``: there z is a floor on which a command leads
    straight on, and the network is left with what the walls do to it. (Trained alike for 1,200
    steps on 16 layouts, without that term: 25 steps ahead 0.021 m off there and 0.033 in four
    others; with it 0.017 and 0.020.)

    :param latent_size: entries of the latent
    :param action_size: entries of the action
    :param action_scale: largest magnitude of an action; actions are divided by it
    :param width: of the two hidden layers
    :param static_size: last entries of the latent, which pass through unchanged
    """

    def __init__(self, *, latent_size: int, action_size: int, action_scale: float, width: int,
                 static_size: int = 0):
        super().__init__()
        self._moving = latent_size - static_size
        self.from_latent = nn.Linear(latent_size, width)
        self.from_action = nn.Linear(action_size, width, bias=False)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, self._moving)
        self.straight = nn.Linear(action_size, self._moving, bias=False) if static_size else None
        with torch.no_grad():
            # The first prediction is then "nothing moves", a good start for long rollouts.
            self.out.weight.mul_(0.1)
            self.out.bias.zero_()
            self.from_action.weight.div_(action_scale)
            if self.straight is not None:
                self.straight.weight.zero_()

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """
        :param latent: ``[N, latent_size]``
        :param action: ``[N, action_size]``
        :return: ``[N, latent_size]``
        """
        return self.with_vjp(latent, action)[0]

    def rollout(
        self, latent: Tensor, actions: Tensor, tape: list[tuple[Tensor, Tensor]] | None = None
    ) -> Tensor:
        """Repeated :meth:`forward`; what does not change on the way is computed once.

        :param latent: ``[N, latent_size]``
        :param actions: ``[N, T, action_size]``
        :param tape: receives what each step's hidden layers were before their nonlinearity
        :return: ``[N, T, latent_size]``
        """
        # Functional, and nothing looked up in the loop: a rollout is a chain of small products,
        # and calling a module costs as much as one of them.
        linear, silu = torch.addmm, nn.functional.silu
        inward, hidden, outward = (
            _inputs_first(layer.weight) for layer in (self.from_latent, self.hidden, self.out)
        )
        hidden_bias, out_bias = self.hidden.bias, self.out.bias
        count, horizon, size = actions.shape
        moving, static = latent[:, : self._moving], latent[:, self._moving :]
        flat = actions.transpose(0, 1).reshape(-1, size)
        pushed = linear(self.from_latent.bias, flat, self.from_action.weight.t())
        pushed = pushed.view(horizon, count, -1)
        if static.shape[1]:
            pushed += static.mm(inward[self._moving :])
            inward = inward[: self._moving]
        # What is added in each step whatever the hidden layers say is summed beforehand, and what
        # they read of it is part of the push: a product less in the chain.
        added = out_bias.expand(horizon, 1, -1)
        if self.straight is not None:
            straight = linear(out_bias, flat, self.straight.weight.t())
            added = straight.view(horizon, count, -1)
        after = added.cumsum(dim=0)
        pushed += (after - added) @ inward
        latents = []
        for push in pushed.unbind(0):
            first = linear(push, moving, inward)
            second = linear(hidden_bias, silu(first), hidden)
            moving = linear(moving, silu(second), outward)
            if tape is not None:
                tape.append((first, second))
            latents.append(moving)
        moved = torch.stack(latents, dim=1) + after.transpose(0, 1)
        if not static.shape[1]:
            return moved
        return torch.cat((moved, static.unsqueeze(1).expand(-1, horizon, -1)), dim=2)

    def with_vjp(self, latent: Tensor, action: Tensor) -> tuple[Tensor, Callable]:
        """As :meth:`forward`, without autograd, and the pullback to the actions in closed form."""
        first = torch.addmm(self.from_latent.bias, latent, self.from_latent.weight.t())
        first.addmm_(action, self.from_action.weight.t())
        second = torch.addmm(self.hidden.bias, nn.functional.silu(first), self.hidden.weight.t())
        change = torch.addmm(self.out.bias, nn.functional.silu(second), self.out.weight.t())
        moving = self._moving
        if self.straight is not None:
            change.addmm_(action, self.straight.weight.t())
        after = change.add_(latent[:, :moving])
        if moving < latent.shape[1]:
            after = torch.cat((after, latent[:, moving:]), dim=1)

        def pullback(cotangent: Tensor) -> Tensor:
            backward, arriving = torch.ops.aten.silu_backward.default, cotangent[:, :moving]
            cotangent = backward(arriving.mm(self.out.weight), second)
            cotangent = backward(cotangent.mm(self.hidden.weight), first)
            given = cotangent.mm(self.from_action.weight)
            return given if self.straight is None else given.addmm_(arriving, self.straight.weight)

        return after, pullback

    @torch.no_grad()
    def rollout_with_vjp(self, latent: Tensor, actions: Tensor) -> tuple[Tensor, Callable]:
        """As :meth:`rollout`, without autograd, and the pullback to the actions by hand."""
        tape: list[tuple[Tensor, Tensor]] = []
        latents = self.rollout(latent, actions, tape)

        @torch.no_grad()
        def pullback(cotangent: Tensor) -> Tensor:
            backward = torch.ops.aten.silu_backward.default
            inward = self.from_latent.weight[:, : self._moving]
            hidden, outward = self.hidden.weight, self.out.weight
            arriving = cotangent[:, :, : self._moving].unbind(1)
            total = torch.zeros_like(arriving[0])
            pushes, totals = [], []
            for (first, second), own in zip(reversed(tape), reversed(arriving), strict=True):
                total = total + own
                push = backward(backward(total.mm(outward), second).mm(hidden), first)
                pushes.append(push)
                totals.append(total)
                total = torch.addmm(total, push, inward)
            given = torch.stack(pushes[::-1], dim=1) @ self.from_action.weight
            if self.straight is not None:
                given += torch.stack(totals[::-1], dim=1) @ self.straight.weight
            return given

        return latents, pullback


def _inputs_first(weight: Tensor) -> Tensor:
    """A layer's weight as ``[inputs, outputs]``.

    In that order in memory too on a GPU, whose products of few rows are faster then.
    """
    return weight.t().contiguous() if weight.is_cuda else weight.t()


def with_velocity(places: Tensor, before: Tensor, gain: float) -> Tensor:
    """Latents of two frames from those of one frame each, ``[..., 2 D]``.

    :param places: h of the newer frames, ``[..., D]``
    :param before: h of the frames one model step earlier, ``[..., D]``
    :param gain: kappa, model steps
    """
    return torch.cat((places, gain * (places - before)), dim=-1)


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers of the given sizes with SiLU between them."""
    layers: list[nn.Module] = []
    for before, after in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


class Standardise(nn.Module):
    """``(x - mean) / scale`` of each entry, with numbers that are set once, not learned."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer('mean', torch.zeros(size))
        self.register_buffer('scale', torch.ones(size))

    def fit(self, values: Tensor) -> None:
        """Take over mean and standard deviation of ``values`` ``[N, size]``.

        No entry is scaled up beyond a twentieth of their common size: it holds noise alone.
        """
        variance = values.var(dim=0)
        self.mean.copy_(values.mean(dim=0))
        self.scale.copy_(variance.sqrt() + 0.05 * variance.mean().sqrt())

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.scale


def make_probe(latent_size: int, width: int, points: int = 1) -> nn.Sequential:
    """A probe of places: of so many points metres in the plane, ``[N, 2 points]``, from a latent.

    A metric latent spends most of its variance on "which room"; the entries are therefore
    brought to one scale first.
    """
    return nn.Sequential(Standardise(latent_size), *mlp(latent_size, width, width, 2 * points))


class Jepa(LatentModel):
    """The world model that ships.

    ``card.architecture`` holds ``channels`` (three) and ``encoder_width`` (features), or in their
    place ``colours`` (maps of a :class:`ColourEncoder`); ``metric_width`` (of the metric head's
    two hidden layers; 0: a linear head), ``predictor_width`` and ``probe_width`` (0: no probe, for
    nobody knows the place); with two frames ``velocity_gain`` (kappa), where a part of the latent
    is static ``static_size`` (entries of w), and where there is a block ``probe_points`` (3: the
    probe reads two points of it, which tell its pose, as well as the robot's place).

    :param card: one camera, square; one or two frames, one latent of history, one control step
        per model step, no proprioception
    :raises ValueError: for a card that this architecture cannot serve
    """

    def __init__(self, card: ModelCard) -> None:
        values = card.architecture
        if card.frames not in (1, 2):
            raise ValueError(f'a jepa has one frame or two, not {card.frames}')
        if (len(card.cameras), card.history, card.action_block) != (1, 1, 1):
            raise ValueError('a jepa has one camera, history 1 and action block 1')
        self._camera_name, camera = next(iter(card.cameras.items()))
        if camera.height != camera.width or len(card.latent_shape) != 1 or card.proprioception:
            raise ValueError('a jepa has a square picture, a vector latent, no proprioception')
        size, colours = card.latent_shape[0], values.get('colours', 0)
        width = 2 * colours or values['encoder_width']
        static = values.get('static_size', 0)
        self._places, odd = divmod(size - static, card.frames)
        if odd or self._places < 1:
            raise ValueError(f'{size} entries, {static} of them static, do not make '
                             f'{card.frames} frames')
        self._gain = float(values['velocity_gain']) if card.frames == 2 else 0.0
        super().__init__(card, weights=_cost_weights(size, static))
        if colours:
            self.encoder = ColourEncoder(size=camera.width, colours=colours)
        else:
            self.encoder = Encoder(size=camera.width, channels=tuple(values['channels']),
                                   width=width)
        metric = values['metric_width']
        self.head = _head(width, metric, self._places)
        if static:
            self.static_head = nn.Linear(width, static)
        scale = max(max(abs(spec.low), abs(spec.high)) for spec in card.actions)
        self.predictor = Predictor(latent_size=size, action_size=card.action_size,
                                   action_scale=scale, width=values['predictor_width'],
                                   static_size=static)
        probe_width = values['probe_width']
        points = values.get('probe_points', 1)
        self.probe = make_probe(self._places, probe_width, points) if probe_width else None

    def encode(self, observation: Observation) -> Tensor:
        observation.check(self.card)
        images = observation.images[self._camera_name]
        count, frames = images.shape[:2]
        features = self.encoder(images.flatten(0, 1)).view(count, frames, -1)
        places = self.head(features)
        latent = places[:, -1]
        if frames == 2:
            latent = with_velocity(latent, places[:, 0], self._gain)
        if 'static_head' in self._modules:
            latent = torch.cat((latent, self.static_head(features[:, -1])), dim=1)
        return latent

    def predict(self, context: Tensor, actions: Tensor) -> Tensor:
        return self.predictor(context[:, -1], actions[:, -1, 0])

    def rollout(self, context: Tensor, actions: Tensor) -> Tensor:
        return self.predictor.rollout(context[:, -1], actions[:, :, 0])

    def predict_with_vjp(
        self, context: Tensor, actions: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        latent, pullback = self.predictor.with_vjp(context[:, -1].detach(), actions[:, -1, 0])
        return latent, lambda cotangent: pullback(cotangent)[:, None, None]

    def rollout_with_vjp(
        self, context: Tensor, actions: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        latents, pullback = self.predictor.rollout_with_vjp(context[:, -1], actions[:, :, 0])
        return latents, lambda cotangent: pullback(cotangent).unsqueeze(2)

    def position(self, latent: Tensor) -> Tensor | None:
        return None if self.probe is None else self._points(latent)[..., :2]

    def block_pose(self, latent: Tensor) -> Tensor | None:
        """Pose of the block, ``[N, 3]``: x, y in m, yaw in rad; None where the probe reads none.

        For reports only, as :meth:`position`.
        """
        if self.probe is None or 'probe_points' not in self.card.architecture:
            return None
        origin, end = self._points(latent)[..., 2:].split(2, dim=-1)
        along = end - origin
        return torch.cat((origin, torch.atan2(along[..., 1:], along[..., :1])), dim=-1)

    def velocity(self, latent: Tensor) -> Tensor | None:
        """Mean velocity over the last model step, ``[N, 2]`` m/s; None with one frame or no probe.

        For reports only, as :meth:`position`.
        """
        if self.card.frames == 1 or self.probe is None:
            return None
        now = latent[..., : self._places]
        before = now - latent[..., self._places : 2 * self._places] / self._gain
        return (self.position(now) - self.position(before)) / self.card.model_step_sec

    def _points(self, latent: Tensor) -> Tensor:
        return self.probe(latent[..., : self._places])


def _head(features: int, width: int, size: int) -> nn.Module:
    return mlp(features, width, width, size) if width else nn.Linear(features, size)


def _cost_weights(size: int, static: int) -> Tensor | None:
    """Weights with which the cost is the mean over the entries that move."""
    if not static:
        return None
    weights = torch.zeros(size)
    weights[: size - static] = size / (size - static)
    return weights
