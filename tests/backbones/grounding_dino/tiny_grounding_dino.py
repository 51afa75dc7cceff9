"""Random GroundingDINOs on disk: in transformers' format, and in the original package's.

Both have the special ids of BERT (101, 102, 1012, 1029), which either library looks for.
"""

import re

import torch
from transformers import (
    BertConfig,
    BertTokenizerFast,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
    SwinConfig,
)

SPECIAL = {
    "[PAD]": 0,
    "[UNK]": 100,
    "[CLS]": 101,
    "[SEP]": 102,
    "[MASK]": 103,
    ".": 1012,
    "?": 1029,
}
WORDS = ("frog", "sea", "horse", "owl", "camouflaged", "animal")
EDGES = {"shortest_edge": 80, "longest_edge": 96}
QUERIES, HEADS = 30, 4
WIDTH, PACKAGE_WIDTH = 32, 256  # the package's text positions are 256 wide whatever is configured


def build_processor():
    """A word tokenizer and the PIL image processor."""
    known = SPECIAL | {word: 200 + index for index, word in enumerate(WORDS)}
    taken = set(known.values())
    unused = {f"[unused{index}]": index for index in range(1030) if index not in taken}
    vocabulary = dict(sorted((known | unused).items(), key=lambda item: item[1]))
    images = GroundingDinoImageProcessorPil(size=EDGES)
    return GroundingDinoProcessor(images, BertTokenizerFast(vocab=vocabulary))


def text_config():
    return BertConfig(
        vocab_size=1030, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip


def config(swin, width):
    """Two decoder layers on any Swin; the sizes are those of ``PACKAGE_OVERRIDES``."""
    return GroundingDinoConfig(
        backbone_config=swin, text_config=text_config(), d_model=width, encoder_layers=1,
        decoder_layers=2, encoder_ffn_dim=64, decoder_ffn_dim=64, num_queries=QUERIES,
        encoder_attention_heads=HEADS, decoder_attention_heads=HEADS,
    )  # fmt: skip


PACKAGE_OVERRIDES = {
    "hidden_dim": PACKAGE_WIDTH, "enc_layers": 1, "dec_layers": 2, "dim_feedforward": 64,
    "nheads": HEADS, "num_queries": QUERIES,
}  # fmt: skip


def randomise(model, seed=0):
    """Weights large enough that boxes and scores differ widely."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.2 if parameter.ndim < 2 else 1.5 / parameter[0].numel() ** 0.5
            parameter.normal_(0, scale, generator=generator)
    return model.eval()


def build(folder):
    """Save a small transformers model with its processor."""
    swin = SwinConfig(
        embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_size=4,
        out_indices=[2, 3, 4],
    )  # fmt: skip
    randomise(GroundingDinoForObjectDetection(config(swin, WIDTH))).save_pretrained(folder)
    build_processor().save_pretrained(folder)


def swin_t():
    """The only small backbone that the package offers, in transformers' terms (28 M weights)."""
    return SwinConfig(
        embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7,
        out_indices=[2, 3, 4],
    )  # fmt: skip


SWIN = "model.backbone.conv_encoder.model."
RENAMES = (
    (r"^backbone\.0\.patch_embed\.proj", SWIN + "swin.embeddings.patch_embeddings.projection"),
    (r"^backbone\.0\.patch_embed\.norm", SWIN + "swin.embeddings.norm"),
    (r"^backbone\.0\.norm(\d)", lambda m: f"{SWIN}hidden_states_norms.stage{int(m[1]) + 1}"),
    (r"^backbone\.0\.layers", SWIN + "swin.encoder.layers"),
    (r"(blocks\.\d+)\.norm1", r"\1.layernorm_before"),
    (r"(blocks\.\d+)\.norm2", r"\1.layernorm_after"),
    (r"attn\.relative_position", "attention.relative_position_bias.relative_position"),
    (r"(blocks\.\d+)\.attn\.proj", r"\1.attention.o_proj"),
    (r"(blocks\.\d+)\.attn\.", r"\1.attention."),
    (r"^input_proj", "model.input_proj_vision"),
    (r"^bert", "model.text_backbone"),
    (r"^feat_map", "model.text_projection"),
    (r"^transformer\.", "model."),
    (r"tgt_embed", "query_position_embeddings"),
    (r"enc_out_bbox_embed", "encoder_output_bbox_embed"),
    (r"ref_point_head", "reference_points_head"),
    (r"decoder\.norm", "decoder.layer_norm"),
    (r"encoder\.layers\.(\d+)\.(?=self_attn|norm|linear)", r"encoder.layers.\1.deformable_layer."),
    (r"deformable_layer\.norm1", "deformable_layer.self_attn_layer_norm"),
    (r"deformable_layer\.norm2", "deformable_layer.final_layer_norm"),
    (r"encoder\.text_layers\.(\d+)", r"encoder.layers.\1.text_enhancer_layer"),
    (r"text_enhancer_layer\.norm1", "text_enhancer_layer.layer_norm_before"),
    (r"text_enhancer_layer\.norm2", "text_enhancer_layer.layer_norm_after"),
    (r"encoder\.fusion_layers\.(\d+)", r"encoder.layers.\1.fusion_layer"),
    (r"gamma_v", "vision_param"),
    (r"gamma_l", "text_param"),
    (r"(fusion_layer\.layer_norm)_v", r"\1_vision"),
    (r"(fusion_layer\.layer_norm)_l", r"\1_text"),
    (r"(fusion_layer\.attn\.(?:values_|out_)?)v_proj", r"\1vision_proj"),
    (r"(fusion_layer\.attn\.(?:values_|out_)?)l_proj", r"\1text_proj"),
    (r"\.cross_attn", ".encoder_attn"),
    (r"\.ca_text", ".encoder_attn_text"),
    (r"\.catext_norm", ".encoder_attn_text_layer_norm"),
    (r"(decoder\.layers\.\d+)\.norm1", r"\1.encoder_attn_layer_norm"),
    (r"(decoder\.layers\.\d+)\.norm2", r"\1.self_attn_layer_norm"),
    (r"(decoder\.layers\.\d+)\.norm3", r"\1.final_layer_norm"),
    (r"\.linear(\d)", r".fc\1"),
)
FUSED = (
    (r"\.qkv\.(weight|bias)$", (".q_proj.", ".k_proj.", ".v_proj.")),
    (r"\.in_proj_(weight|bias)$", (".query.", ".key.", ".value.")),
)


def to_transformers(weights):
    """The package's weights under transformers' names; fused projections are split in three."""
    converted = {}
    for name, value in weights.items():
        if re.search(r"relative_position_index|bert\.pooler", name):
            continue
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        for pattern, parts in FUSED:
            if match := re.search(pattern, name):
                for part, third in zip(parts, value.chunk(3), strict=True):
                    converted[name[: match.start()] + part + match[1]] = third.clone()
                break
        else:
            converted[name] = value.clone()
    return converted
