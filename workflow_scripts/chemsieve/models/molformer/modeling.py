"""MoLFormer's layers: linear attention with random features and rotary embedding.

Sources: Ross et al. 2022 (10.1038/s42256-022-00580-7) for the model, Choromanski et al. 2021 (2009.14794) for
orthogonal random features, Su et al. 2021 (2104.09864) for the rotary embedding, Cho and Saul 2009 (Kernel methods for
deep learning, NIPS 22) for the arc-cosine kernel, which the random features estimate. Parameter names and shapes are
those of the published checkpoint, so that its state dict loads strictly. Every operation has a double backward and a
forward-mode derivative, which influence functions need.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, MaskedLMOutput, SequenceClassifierOutput

from chemsieve.models.molformer.configuration import MolformerConfig
from chemsieve.models.molformer.dropout import Dropout

# Pairs of positions that kernel attention works on at a time: half a megabyte in single precision, which a processor's
# cache holds; on a GPU, which a small product leaves idle, a quarter of a gigabyte.
PAIRS, GPU_PAIRS = 2**17, 2**26


def rotary_tables(length: int, head_size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines, each (length, head_size), of the rotary embedding by halves."""
    frequency = 10000.0 ** (-torch.arange(0, head_size, 2, device=like.device, dtype=like.dtype) / head_size)
    angle = torch.arange(length, device=like.device, dtype=like.dtype)[:, None] * frequency
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def orthogonal_features(count: int, rows: int, columns: int, like: Tensor) -> Tensor:
    """Draw ``count`` random projections (count, rows, columns) from the global generator, by one batched QR.

    Each is made of square orthogonal blocks whose columns are scaled by the norms of the Gaussian rows drawn, the
    last block cut to size. As published, the signs are those of QR and the norms are of the matrix that was made
    orthogonal, so that the features are not quite isotropic: of heads 64 wide, attention averaged over 512 draws of 32
    still differs from the arc-cosine kernel's by 0.03 of its standard deviation, half of which is bias.
    """
    blocks = -(-columns // rows)
    drawn = torch.randn(
        count, blocks, rows, rows, device=like.device, dtype=torch.promote_types(like.dtype, torch.float32)
    )
    orthogonal, _ = torch.linalg.qr(drawn)
    scaled = orthogonal * drawn.norm(dim=-1)[:, :, None, :]
    return scaled.transpose(1, 2).reshape(count, rows, blocks * rows)[:, :, :columns].to(like.dtype)


class FeatureMap(nn.Module):
    """phi(x) = relu(R x W): R the rotary embedding of x's position, W a random projection (head_size, features).

    W is state, not a parameter.
    """

    weight: Tensor

    def __init__(self, config: MolformerConfig):
        super().__init__()
        head_size = config.hidden_size // config.num_attention_heads
        self.register_buffer("weight", torch.zeros(head_size, config.num_random_features))

    def rotated(self, cos: Tensor, sin: Tensor) -> Tensor:
        """R W at each position: (length, head_size, features). To rotate W once is cheaper than each x."""
        return cos.unsqueeze(-1) * self.weight + (sin.unsqueeze(-1) * self.weight).roll(-(sin.shape[-1] // 2), dims=1)

    def forward(self, x: Tensor, rotated: Tensor) -> Tensor:
        """Features (length, rows, features) of ``x`` (length, rows, head_size)."""
        return F.relu(x @ rotated)


def arc_cosine(cosine: Tensor, twice: bool = True) -> Tensor:
    """sin t + (pi - t) cos t of the angles t with these cosines: the arc-cosine kernel of degree 1 without its norms.

    ``relu(w q) relu(w k)`` of standard normal ``w`` has the mean ``|q| |k| arc_cosine(cos t) / (2 pi)``. Its first
    derivative is pi - t, its second 1 / sin t. The composition of arccos, whose own derivative is unbounded at the
    ends, would give these as differences of large numbers, and NaN at the ends; so they are written down. Of third and
    higher derivatives there are none. At equal and at opposite vectors the second is left out: there the cosine has an
    extremum, and what the second derivative is multiplied with vanishes faster than it grows.

    Args:
        twice: whether a second derivative is wanted.
    """
    at = cosine.detach().clamp(-1, 1)
    step = cosine - at  # zero, and what carries the derivatives
    first = at.neg().acos_()  # pi - t
    sine = at.square().neg_().add_(1).clamp_(min=0).sqrt_()
    slope = torch.addcmul(first, torch.where(sine > 0, 0.5 / sine, 0.0), step) if twice else first
    return torch.addcmul(torch.addcmul(sine, first, at), slope, step)


def _direction(x: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors along the last dimension, and norms (..., 1); a zero vector stays one, with finite derivatives."""
    square = x.square().sum(dim=-1, keepdim=True)
    inverse = torch.where(square > torch.finfo(x.dtype).tiny ** 0.4, square, 1.0).rsqrt()
    return x * inverse, square * inverse


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The rotary embedding of ``x`` (rows, length, head_size) by position."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)


class SelfAttention(nn.Module):
    def __init__(self, config: MolformerConfig):
        super().__init__()
        self.heads = config.num_attention_heads
        self.eps = config.linear_attention_eps
        self.kernel = config.attention == "kernel"
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.feature_map = FeatureMap(config)

    def forward(self, hidden: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length = hidden.shape[:2]
        query, key, value = (
            layer(hidden).view(batch, length, self.heads, -1) for layer in (self.query, self.key, self.value)
        )
        # The sums over the sequence overflow half precision and lose digits in bfloat16: float32 at least.
        with torch.autocast(hidden.device.type, enabled=False):
            context = (self._by_kernel if self.kernel else self._by_features)(query, key, value, mask, cos, sin)
        context = context.view(batch, self.heads, length, -1).transpose(1, 2)
        return context.to(hidden.dtype, memory_format=torch.contiguous_format).flatten(2)

    def _by_features(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Context (batch x heads, length, head_size) of projections (batch, length, heads, head_size)."""
        batch, length = mask.shape[:2]

        def by_position(x: Tensor) -> Tensor:
            """(length, batch x heads, head_size), so that products by position and by head both go without a copy."""
            return x.transpose(0, 1).to(cos.dtype, memory_format=torch.contiguous_format).flatten(1, 2)

        query, key, value = (by_position(x) for x in (query, key, value))
        mask = mask.transpose(0, 1).expand(length, batch, self.heads).reshape(length, -1, 1)
        mask = mask.to(cos.dtype) if self.training else mask
        rotated = self.feature_map.rotated(cos, sin)
        query = self.feature_map(query, rotated).transpose(0, 1)
        key = self._masked(self.feature_map(key, rotated), mask).transpose(0, 1)
        summary = key.transpose(1, 2) @ self._masked(value, mask).transpose(0, 1)
        norm = (query @ key.sum(dim=1).unsqueeze(-1)).clamp(min=self.eps)
        return (query / norm) @ summary

    def _by_kernel(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """The same with the kernel that the features estimate. The query's norm cancels, and is left out."""

        def by_head(x: Tensor) -> Tensor:
            """(batch x heads, length, head_size)."""
            return x.transpose(1, 2).to(cos.dtype, memory_format=torch.contiguous_format).flatten(0, 1)

        query, key, value = (by_head(x) for x in (query, key, value))
        mask = mask.repeat_interleave(self.heads, dim=0)
        mask = mask.to(cos.dtype) if self.training else mask
        query, _ = _direction(rotate(query, cos, sin))
        key, norm = _direction(rotate(key, cos, sin))
        norm = self._masked(norm, mask)
        if not self.training:  # where training multiplies by a norm of zero
            key, value = self._masked(key, mask), self._masked(value, mask)
        value = norm * value
        # A few heads at a time, whose pairs of positions stay in the processor's cache.
        size = max((GPU_PAIRS if query.is_cuda else PAIRS) // query.shape[1] ** 2, 1)
        parts = zip(*(x.split(size) for x in (query, key.transpose(1, 2), value, norm)), strict=True)
        return torch.cat([self._weighted(*part) for part in parts])

    def _weighted(self, query: Tensor, key: Tensor, value: Tensor, norm: Tensor) -> Tensor:
        # Training differentiates once; influence, which differentiates twice, does so in evaluation mode.
        weight = arc_cosine(query @ key, twice=not self.training)
        return (weight @ value) / (weight @ norm).clamp(min=self.eps)

    def _masked(self, x: Tensor, mask: Tensor) -> Tensor:
        # Selected: forward-mode derivatives at padding may overflow, and zero times infinity is not zero. Training,
        # which has none, multiplies, at a fifth of the time.
        return x * mask if self.training else torch.where(mask, x, 0.0)


class ResidualOutput(nn.Module):
    """Dense, dropout, and the post-norm residual: LayerNorm(dropout(W x + b) + residual)."""

    def __init__(self, inputs: int, config: MolformerConfig):
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(hidden)) + residual)


class Attention(nn.Module):
    def __init__(self, config: MolformerConfig):
        super().__init__()
        self.self = SelfAttention(config)
        self.output = ResidualOutput(config.hidden_size, config)

    def forward(self, hidden: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return self.output(self.self(hidden, mask, cos, sin), hidden)


class Intermediate(nn.Module):
    def __init__(self, config: MolformerConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return F.gelu(self.dense(hidden))


class Layer(nn.Module):
    def __init__(self, config: MolformerConfig):
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = ResidualOutput(config.intermediate_size, config)

    def forward(self, hidden: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        attended = self.attention(hidden, mask, cos, sin)
        return self.output(self.intermediate(attended), attended)


class Encoder(nn.Module):
    def __init__(self, config: MolformerConfig):
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class Embeddings(nn.Module):
    def __init__(self, config: MolformerConfig):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.dropout = Dropout(config.embedding_dropout_prob)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.dropout(self.word_embeddings(input_ids))


class MolformerPreTrainedModel(PreTrainedModel):
    config_class = MolformerConfig
    base_model_prefix = "molformer"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            nn.init.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, FeatureMap):
            rows, columns = module.weight.shape
            module.weight.copy_(orthogonal_features(1, rows, columns, like=module.weight)[0])


class MolformerModel(MolformerPreTrainedModel):
    """The encoder. In training mode the random features are redrawn at each forward pass, and stay as drawn last.

    With ``fixed_features`` they stay as they are in training too; so they do with kernel attention, which does not use
    them and only keeps them for the checkpoint's sake.
    """

    fixed_features = False

    def __init__(self, config: MolformerConfig):
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    @property
    def has_features(self) -> bool:
        """Whether outputs depend on random features."""
        return self.config.attention == "random_features"

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embeddings.word_embeddings = cast("nn.Embedding", value)

    @torch.no_grad()
    def redraw_features(self) -> None:
        """Draw the random features of all layers afresh."""
        maps = [cast("Layer", layer).attention.self.feature_map for layer in self.encoder.layer]
        rows, columns = maps[0].weight.shape
        drawn = orthogonal_features(len(maps), rows, columns, like=maps[0].weight)
        for feature_map, weight in zip(maps, drawn, strict=True):
            # A new tensor, not a copy in place: the graph of an earlier forward pass may still hold the old one.
            feature_map.weight = weight.contiguous()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **unused: object
    ) -> BaseModelOutputWithPooling:
        """Encode ``input_ids`` (batch, length); ``attention_mask`` is 1 on tokens and 0 on right padding.

        Returns:
            ``last_hidden_state`` (batch, length, hidden) and ``pooler_output`` (batch, hidden), the masked mean.
        """
        if input_ids.shape[1] > self.config.max_position_embeddings:
            raise ValueError(f"{input_ids.shape[1]} tokens; the encoder takes {self.config.max_position_embeddings}")
        if self.training and self.has_features and not self.fixed_features:
            self.redraw_features()
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        hidden = self.embeddings(input_ids)
        mask = attention_mask[:, :, None].bool()
        head_size = self.config.hidden_size // self.config.num_attention_heads
        cos, sin = rotary_tables(input_ids.shape[1], head_size, like=self.LayerNorm.weight)
        for layer in self.encoder.layer:
            hidden = layer(hidden, mask, cos, sin)
        hidden = self.LayerNorm(hidden)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=masked_mean(hidden, attention_mask))


def masked_mean(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean of ``hidden`` (batch, length, width) over the unpadded tokens: (batch, width)."""
    mask = attention_mask.unsqueeze(-1).bool()
    count = mask.sum(dim=1).to(hidden.dtype)
    return torch.where(mask, hidden, 0.0).sum(dim=1) / count.clamp(min=1e-9)


class PredictionTransform(nn.Module):
    def __init__(self, config: MolformerConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.LayerNorm(F.gelu(self.dense(hidden)))


class LanguageModelHead(nn.Module):
    def __init__(self, config: MolformerConfig):
        super().__init__()
        self.transform = PredictionTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.decoder(self.transform(hidden))


class MolformerForMaskedLM(MolformerPreTrainedModel):
    def __init__(self, config: MolformerConfig):
        super().__init__(config)
        self.molformer = MolformerModel(config)
        self.lm_head = LanguageModelHead(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        chosen: Tensor | None = None,
        **unused: object,
    ) -> MaskedLMOutput:
        """Logits (batch, length, vocabulary), or with ``labels`` (-100 where not masked) the mean cross-entropy.

        With labels only the masked positions go through the head, and ``logits`` is (masked positions, vocabulary):
        the head over the whole vocabulary is a large part of a small encoder's cost. ``chosen`` (masked positions,) are
        these in the flattened batch, where they are known: to count them, a GPU has to be waited for.
        """
        hidden = self.molformer(input_ids, attention_mask).last_hidden_state
        if labels is None:
            return MaskedLMOutput(logits=self.lm_head(hidden))
        if chosen is None:
            chosen = (labels.flatten() != -100).nonzero()[:, 0]
        logits = self.lm_head(hidden.flatten(0, 1).index_select(0, chosen))
        wanted = labels.flatten().index_select(0, chosen)
        loss = F.cross_entropy(logits.float() if logits.dtype != torch.float64 else logits, wanted)
        return MaskedLMOutput(loss=loss, logits=logits)


class ClassificationHead(nn.Module):
    """The published two-layer head with skip connections."""

    def __init__(self, config: MolformerConfig):
        super().__init__()
        dropout = config.classifier_dropout_prob
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dense2 = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.out_proj = nn.Linear(config.hidden_size, cast("int", config.num_labels))
        self.skip = config.classifier_skip_connection

    def forward(self, pooled: Tensor) -> Tensor:
        hidden = pooled
        for dense in (self.dense, self.dense2):
            updated = F.gelu(self.dropout(dense(hidden)))
            hidden = updated + hidden if self.skip else updated
        return self.out_proj(hidden)


class MolformerForSequenceClassification(MolformerPreTrainedModel):
    def __init__(self, config: MolformerConfig):
        super().__init__(config)
        self.molformer = MolformerModel(config)
        self.classifier = ClassificationHead(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **unused: object,
    ) -> SequenceClassifierOutput:
        """Logits (batch, labels); with ``labels`` (batch) of a single-output model also the mean squared error."""
        logits = self.classifier(self.molformer(input_ids, attention_mask).pooler_output)
        if labels is None:
            return SequenceClassifierOutput(logits=logits)
        return SequenceClassifierOutput(loss=F.mse_loss(logits.squeeze(-1), labels.to(logits.dtype)), logits=logits)
