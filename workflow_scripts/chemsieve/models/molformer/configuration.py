"""Configuration of a MoLFormer encoder, in the published keys."""

from transformers import PretrainedConfig

ATTENTION = ("random_features", "kernel")


class MolformerConfig(PretrainedConfig):
    """Shape and regularisation of MoLFormer (Ross et al. 2022, 10.1038/s42256-022-00580-7).

    The defaults are those of MoLFormer-XL. ``deterministic_eval`` is accepted because published configurations hold
    it; evaluation here is always deterministic, whatever it says.

    ``attention`` is a key of this project's. With ``random_features``, the published way and the default, the weight of
    a key is estimated from random features; with ``kernel`` it is what that estimate converges to, in closed form.
    """

    model_type = "molformer"

    def __init__(
        self,
        vocab_size: int = 2362,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 768,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        embedding_dropout_prob: float = 0.2,
        max_position_embeddings: int = 202,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        linear_attention_eps: float = 1e-6,
        num_random_features: int = 32,
        feature_map_kernel: str = "relu",
        attention: str = "random_features",
        deterministic_eval: bool = True,
        classifier_dropout_prob: float | None = None,
        classifier_skip_connection: bool = True,
        pad_token_id: int = 2,
        tie_word_embeddings: bool = False,
        **kwargs,
    ):
        if hidden_size % num_attention_heads or (hidden_size // num_attention_heads) % 2:
            raise ValueError(
                f"hidden_size {hidden_size} must be a multiple of num_attention_heads {num_attention_heads}, "
                "with an even head size (rotary embedding)"
            )
        if feature_map_kernel != "relu" or hidden_act != "gelu":
            raise ValueError("only feature_map_kernel 'relu' and hidden_act 'gelu' are implemented")
        if attention not in ATTENTION:
            raise ValueError(f"attention {attention!r} is none of {', '.join(ATTENTION)}")
        if tie_word_embeddings:
            raise ValueError("MoLFormer's decoder is not tied to its embedding; tie_word_embeddings must be false")
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.embedding_dropout_prob = embedding_dropout_prob
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.linear_attention_eps = linear_attention_eps
        self.num_random_features = num_random_features
        self.feature_map_kernel = feature_map_kernel
        self.attention = attention
        self.deterministic_eval = deterministic_eval
        self.classifier_dropout_prob = classifier_dropout_prob
        self.classifier_skip_connection = classifier_skip_connection
        super().__init__(  # type: ignore[call-arg]  # it sets whatever else it is given
            pad_token_id=pad_token_id, tie_word_embeddings=tie_word_embeddings, **kwargs
        )
