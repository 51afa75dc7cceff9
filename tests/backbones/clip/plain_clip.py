"""Spatial CLIP once more, in NumPy float64 with loops, sharing nothing with the package."""

import math

import numpy as np

_ERF = np.vectorize(math.erf)


def tokens(state, image, *, patch, heads, blocks, attention, quick_gelu=False):
    """(1 + n, D) features after architecture surgery of one (3, S, S) normalised image."""
    w = {
        name.removeprefix("visual."): value.double().numpy()
        for name, value in state.items()
        if name.startswith("visual.")
    }
    depth = 1 + max(int(name.split(".")[2]) for name in w if ".resblocks." in name)
    old = _embed(w, image, patch)
    new = None
    for i in range(depth):
        p = f"transformer.resblocks.{i}."
        x = _layer_norm(old, w, p + "ln_1")
        q, k, v = np.split(x @ w[p + "attn.in_proj_weight"].T + w[p + "attn.in_proj_bias"], 3, 1)
        if i >= depth - blocks:
            new = old.copy() if new is None else new
            same = {"kk": k, "vv": v}[attention]
            new = new + _project(w, p, _attention(same, same, v, heads))
        old = old + _project(w, p, _attention(q, k, v, heads))
        hidden = _layer_norm(old, w, p + "ln_2") @ w[p + "mlp.c_fc.weight"].T
        hidden = _gelu(hidden + w[p + "mlp.c_fc.bias"], quick_gelu)
        old = old + hidden @ w[p + "mlp.c_proj.weight"].T + w[p + "mlp.c_proj.bias"]
    new[0] = old[0]
    return _layer_norm(new, w, "ln_post") @ w["proj"]


def _embed(w, image, patch):
    side = image.shape[1] // patch
    rows = [w["class_embedding"]]
    for r in range(side):
        for c in range(side):
            cut = image[:, r * patch : (r + 1) * patch, c * patch : (c + 1) * patch]
            rows.append((w["conv1.weight"] * cut).sum((1, 2, 3)))
    return _layer_norm(np.stack(rows) + _positions(w["positional_embedding"], side), w, "ln_pre")


def _positions(trained, side):
    """Bilinear between cell centres, the border held constant."""
    old = round(math.sqrt(len(trained) - 1))
    grid = trained[1:].reshape(old, old, -1)
    places = np.clip((np.arange(side) + 0.5) * old / side - 0.5, 0, old - 1)
    rows = [trained[0]]
    for y in places:
        for x in places:
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, old - 1), min(x0 + 1, old - 1)
            top = grid[y0, x0] * (1 - x + x0) + grid[y0, x1] * (x - x0)
            low = grid[y1, x0] * (1 - x + x0) + grid[y1, x1] * (x - x0)
            rows.append(top * (1 - y + y0) + low * (y - y0))
    return np.stack(rows)


def _attention(q, k, v, heads):
    out = np.zeros_like(v)
    width = v.shape[1] // heads
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        for i in range(len(q)):
            logits = k[:, part] @ q[i, part] / math.sqrt(width)
            weights = np.exp(logits - logits.max())
            out[i, part] = (weights / weights.sum()) @ v[:, part]
    return out


def _project(w, p, x):
    return x @ w[p + "attn.out_proj.weight"].T + w[p + "attn.out_proj.bias"]


def _layer_norm(x, w, name):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * w[name + ".weight"] + w[name + ".bias"]


def _gelu(x, quick):
    return x / (1 + np.exp(-1.702 * x)) if quick else x * 0.5 * (1 + _ERF(x / math.sqrt(2)))


def heat_map(features, foreground, background, empty, norm):
    """(g, g) map of GenSAM from features (1 + n, D) and unit text features."""
    if norm == "channel":
        unit = np.stack([row / np.sqrt((row**2).sum()) for row in features])
    else:
        unit = np.stack([col / np.sqrt((col**2).sum()) for col in features.T]).T

    def mean_map(texts):
        return np.mean([_min_max((unit @ (text - empty))[1:]) for text in texts], axis=0)

    combined = mean_map(foreground)
    if len(background):
        combined = combined - mean_map(background)
    side = math.isqrt(len(combined))
    return _min_max(combined).reshape(side, side)


def _min_max(x):
    return (x - x.min()) / (x.max() - x.min())
