"""The convolutional frontend: 80 mel bins at 100 Hz in, channels at 50 Hz out.

Letters: B batch, T feature frames, N = (T - 7) // 2 frames at 50 Hz, C channels, F frequency bins.
Images are (B, C, time, F).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipformer import masks, ops
from zipformer.nn.choices import Activation
from zipformer.nn.dropout import SharedDropout, skip_sequences
from zipformer.nn.encoder_config import EncoderConfig
from zipformer.nn.gradients import scale_gradient
from zipformer.nn.norm import make_norm
from zipformer.nn.regularizers import Balancer, Whiten
from zipformer.nn.schedule import ScheduledFloat

REACH = 3  # frames that the 7x7 convolution of the ConvNeXt block reaches to either side


class ConvNeXt(nn.Module):
    """A residual block: 7x7 depthwise convolution, then a pointwise inverted bottleneck.

    Args:
        channels: C.
        activation: In the bottleneck.
    """

    def __init__(self, channels: int, activation: Activation = ops.swoosh_l) -> None:
        super().__init__()
        self.activation = activation
        self.depthwise_conv = nn.Conv2d(channels, channels, 7, padding=(0, REACH), groups=channels)
        self.pointwise_conv1 = nn.Conv2d(channels, 3 * channels, 1)
        self.hidden_balancer = Balancer(0.3, 1.0, 0.75, 5.0)
        self.pointwise_conv2 = nn.Conv2d(3 * channels, channels, 1)
        with torch.no_grad():
            self.pointwise_conv2.weight.mul_(0.01)
            assert self.pointwise_conv2.bias is not None
            nn.init.uniform_(self.pointwise_conv2.bias, -0.001, 0.001)
        self.skip_rate = ScheduledFloat((0.0, 0.2), (20000.0, 0.015), default=0.0)
        self.out_balancer = Balancer(0.4, 0.6, 1.0, 6.0)
        self.out_whiten = Whiten(1, 5.0)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """(B, C, N + 6, F), valid (B, N, 1, 1) or None -> (B, N, F, C)."""
        depthwise, weight = self.depthwise_conv, self.pointwise_conv1.weight.flatten(1)
        assert depthwise.bias is not None and self.pointwise_conv1.bias is not None
        # The depthwise bias joins the pointwise one, which costs no pass over the image.
        bias = self.pointwise_conv1.bias + weight @ depthwise.bias
        y = ops.depthwise_conv2d(x, depthwise.weight)
        y = y.permute(0, 2, 3, 1)  # (B, N, F, C), a view in channels-last
        y = F.linear(y, weight, bias)
        y = self.activation(self.hidden_balancer(y, valid))
        y = F.linear(y, self.pointwise_conv2.weight.flatten(1), self.pointwise_conv2.bias)
        y = skip_sequences(y, float(self.skip_rate), self.training)
        y = x[:, :, REACH:-REACH].permute(0, 2, 3, 1) + y
        return self.out_whiten(self.out_balancer(y, valid), valid)


class Frontend(nn.Module):
    """Three convolutions that halve the frame rate, a ConvNeXt block and a projection.

    An output frame looks at 13 feature frames beyond its own two: 7 in the convolutions, which
    are not padded in time, and three frames of 50 Hz in the ConvNeXt block.

    Args:
        config: The encoder's.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        c1, c2, c3 = config.frontend_channels
        self.activation = config.choices.convolution
        self.mean, self.std = config.feature_mean, config.feature_std
        self.conv1 = nn.Conv2d(1, c1, 3, padding=(0, 1))
        self.balancer1 = Balancer(max_abs=1.0, channel_dim=1)
        self.conv2 = nn.Conv2d(c1, c2, 3, stride=2)
        self.balancer2 = Balancer(max_abs=4.0, channel_dim=1)
        self.conv3 = nn.Conv2d(c2, c3, 3, stride=(1, 2))
        self.balancer3 = Balancer(max_abs=4.0, channel_dim=1)
        self.convnext = ConvNeXt(c3, config.choices.wide)
        self.bins = ((config.num_features - 1) // 2 - 1) // 2
        self.out = nn.Linear(c3 * self.bins, config.frontend_dim)
        self.out_whiten = Whiten(1, ScheduledFloat((0.0, 4.0), (20000.0, 8.0)), grad_scale=0.02)
        self.out_norm = make_norm(config.choices.norm, config.frontend_dim)
        self.dropout = SharedDropout(ScheduledFloat((0.0, 0.3), (20000.0, 0.1), default=0.0))

    def initial_state(self, batch_size: int) -> Tensor:
        """(B, C, 3, F) of zeros: what comes before an utterance."""
        weight = self.conv3.weight
        zeros = weight.new_zeros(batch_size, weight.shape[0], REACH, self.bins)
        return zeros.to(memory_format=torch.channels_last)

    def forward(
        self,
        features: Tensor,
        lengths: Tensor | None,
        state: Tensor | None = None,
        chunk: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Runs the frontend over a whole utterance, or one step of a stream.

        Args:
            features: (B, T, num_features), T >= 9.
            lengths: (B,) valid feature frames; None if all are.
            state: (B, C, 3, F), the convolved frames before this step; None at the beginning.
            chunk: Frames at 50 Hz after which the next step begins, in a step that is followed by
                others; its last three convolved frames are then look-ahead. None where the input
                ends: zeros follow.

        Returns:
            (B, N, D), or (B, N - 3, D) with ``chunk``; and the new state.
        """
        x = self._convolve(features, lengths)
        valid = self._valid(x, lengths, 7, 2)
        x = x if valid is None else x * valid
        before = self.initial_state(x.shape[0]).to(x.dtype) if state is None else state
        after = [] if chunk is not None else [torch.zeros_like(before)]
        x = torch.cat([before, x, *after], dim=2)
        new_state = before if chunk is None else x[:, :, chunk : chunk + REACH]
        valid = None if valid is None else valid[:, 0, : x.shape[2] - 2 * REACH]  # (B, N, 1)
        x = self.convnext(x, None if valid is None else valid.unsqueeze(-1)).flatten(2)
        # (B, N, F * C). The weight counts channels before bins, the image the other way round.
        weight = self.out.weight.unflatten(1, (-1, self.bins)).transpose(1, 2).flatten(1)
        x = F.linear(x, weight, self.out.bias)
        x = self.out_norm(self.out_whiten(x, valid))
        return self.dropout(x), new_state

    def _convolve(self, features: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, T, num_features) -> (B, C, N, F)."""
        if (self.mean, self.std) != (0.0, 1.0):
            features = (features - self.mean) / self.std
        image = features.unsqueeze(1).to(memory_format=torch.channels_last)
        x = scale_gradient(self.conv1(image), 0.2)
        x = self.activation(self.balancer1(x, self._valid(x, lengths, 2, 1)))
        x = self.conv2(x)
        x = self.activation(self.balancer2(x, self._valid(x, lengths, 3, 2)))
        x = self.conv3(x)
        return self.activation(self.balancer3(x, self._valid(x, lengths, 7, 2)))

    @staticmethod
    def _valid(x: Tensor, lengths: Tensor | None, lost: int, stride: int) -> Tensor | None:
        """(B, 1, time, 1) bool, of feature frames (B,) after convolutions; None if all are."""
        if lengths is None:
            return None
        frames = torch.div(lengths - lost, stride, rounding_mode="floor")
        return masks.valid_frames(frames, x.shape[2])[:, None, :, None]
