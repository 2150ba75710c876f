"""Prompts: their syntax, and their embeddings beside those put together by hand from the text encoders."""

import re

import pytest
import torch

from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.pipelines import load_pipeline
from hessgeo.systems.diffusion.prompt_encoding import encode_prompts
from hessgeo.systems.diffusion.prompts import Fragment, count_tokens, parse_prompt, plain_text

FAMILIES = {
    "stable-diffusion": "small_stable_diffusion",
    "stable-diffusion-xl": "small_stable_diffusion_xl",
    "stable-diffusion-3": "small_stable_diffusion_3",
    "flux": "small_flux",
}
LONG = " ".join(["a bright red house beside the old stone bridge"] * 8)


@pytest.fixture(scope="module")
def pipelines(small_checkpoint):
    """Pipelines by family, loaded once."""
    loaded = {}

    def get(family):
        if family not in loaded:
            loaded[family] = load_pipeline(describe_checkpoint(small_checkpoint(FAMILIES[family])))
        return loaded[family]

    return get


# --- syntax ---


@pytest.mark.parametrize(
    ("prompt", "fragments"),
    [
        ("a cat", [("a cat", 1)]),
        ("", []),
        ("(a cat:1.4), dull", [("a cat", 1.4), (", dull", 1)]),
        ("a (red) [blue] cat", [("a ", 1), ("red", 1.1), (" ", 1), ("blue", 1 / 1.1), (" cat", 1)]),
        ("((a)b:2)", [("a", 2.2), ("b", 2)]),
        ("(a : 0.5 )", [("a ", 0.5)]),
        ("(portrait: a man), 10:30", [("portrait: a man", 1.1), (", 10:30", 1)]),
        (r"\(a\) \[b\] C\+\+ rock \AND roll", [("(a) [b] C++ rock AND roll", 1)]),
        ("I <3 cats & dogs; well-known, a - b, sand band BREAKFAST", None),
        ("l'été, 猫", None),
    ],
)
def test_weights_are_read_and_the_rest_is_text(prompt, fragments):
    (part,) = parse_prompt(prompt)
    expected = [(prompt, 1)] if fragments is None else fragments
    assert [(piece.text, pytest.approx(piece.weight)) for piece in part] == expected


def test_a_break_separates_parts_inside_of_brackets_too():
    assert parse_prompt("a BREAK b") == [[Fragment("a ")], [Fragment(" b")]]
    assert parse_prompt("(a BREAK b:1.5)") == [[Fragment("a ", 1.5)], [Fragment(" b", 1.5)]]


@pytest.mark.parametrize(
    ("prompt", "found", "reason"),
    [
        ("a <lora:detail:0.8> cat", "<lora:detail:0.8>", "system.lora"),
        ("<cat-toy> on a desk", "<cat-toy>", "an embedding"),
        ("embedding:style.pt", "embedding:style.pt", "an embedding"),
        ("ugly, EasyNegative", "EasyNegative", "an embedding"),
        ("a cat AND a dog", "AND", "a combination of prompts"),
        ("a {red|blue} cat", "{", "a choice of texts"),
        ("a __colour__ cat", "__colour__", "a choice of texts"),
        ("[cat:dog:0.5]", ":", "words that change on the way"),
        ("[cat|dog]", "|", "words that change on the way"),
        ("a (bright)1.4 house", ")1", "a weight of compel"),
        ("a bright++ house", "t++", "a weight of compel"),
        ('("a", "b").blend(1, 1)', ".blend(", "a function of compel"),
        ("a cat --ar 16:9", "--ar", "an option of Midjourney"),
        ("cat::2 dog", "::", "a weight of Midjourney"),
        ("(a cat", "(", "nothing closes"),
        ("a cat:1.4)", ")", "nothing opens"),
        ("(a] cat", "]", "nothing opens"),
    ],
)
def test_syntax_of_other_programs_is_refused_by_name(prompt, found, reason):
    with pytest.raises(ValueError, match=re.escape(f"no {found!r}")) as error:
        parse_prompt(prompt)
    assert reason in str(error.value)
    assert "a backslash before a character or a word takes it as text" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("prompt", ["(a:-1)", "(a:10.5)", "(((a:5)b:5))", "(a:1,4)", "(a:1.4.5)"])
def test_weights_that_are_none(prompt):
    with pytest.raises(ValueError, match=r"weights from 0 to 10|no number after ':'"):
        parse_prompt(prompt)


def test_an_encoder_of_one_window_takes_plain_text_alone():
    assert plain_text(r"a house \(old\)") == "a house (old)"
    for prompt, word in (("(a:1.2)", "weights"), ("a BREAK b", "BREAK"), ("a <cat>", "<cat>")):
        with pytest.raises(ValueError, match=word):
            plain_text(prompt)


# --- embeddings ---


def ids(tokenizer, text):
    return tokenizer(text).input_ids[1:-1]


def hidden(encoder, tokenizer, tokens, layer):
    """Vectors of 77 places as the layers themselves give them, one after the other."""
    row = [tokenizer.bos_token_id, *tokens, tokenizer.eos_token_id]
    row += [tokenizer.pad_token_id] * (77 - len(row))
    model, caught = getattr(encoder, "text_model", encoder), []

    def keep(module, inputs, output):
        caught.append(output[0] if isinstance(output, tuple) else output)

    hooks = [block.register_forward_hook(keep) for block in model.encoder.layers]
    with torch.no_grad():
        encoder(torch.tensor([row]))
    for hook in hooks:
        hook.remove()
    return caught[layer]


def by_hand(pipeline, windows, skip=0):
    """The CLIPs' vectors of windows, each a list of texts with weights."""
    single = not hasattr(pipeline, "text_encoder_2")
    columns = []
    for end in ("",) if single else ("", "_2"):
        tokenizer, encoder = getattr(pipeline, f"tokenizer{end}"), getattr(pipeline, f"text_encoder{end}")

        def vectors(tokens, encoder=encoder, tokenizer=tokenizer):
            z = hidden(encoder, tokenizer, tokens, -1 - skip - (not single))
            with torch.no_grad():
                norm = getattr(encoder, "text_model", encoder).final_layer_norm
                return norm(z) if single else z

        rows = []
        for window in windows:
            tokens = [(token, weight) for text, weight in window for token in ids(tokenizer, text)]
            z, empty = vectors([token for token, _ in tokens]), vectors([])
            for place, (_, weight) in enumerate(tokens, start=1):
                z[:, place] = weight * z[:, place] + (1 - weight) * empty[:, place]
            rows.append(z)
        columns.append(torch.cat(rows, dim=1))
    return torch.cat(columns, dim=-1)


def encode(pipeline, prompt, negative="", **options):
    return encode_prompts(pipeline, prompt, negative, **{"guided": True, **options})


@pytest.mark.parametrize("family", ["stable-diffusion", "stable-diffusion-xl"])
def test_weighted_tokens_move_from_those_of_an_empty_prompt(pipelines, family):
    pipeline = pipelines(family)
    found = encode(pipeline, "a (bright:1.4) house, (dull:0.3)")["prompt_embeds"]
    window = [("a", 1), ("bright", 1.4), ("house,", 1), ("dull", 0.3)]
    assert torch.allclose(found, by_hand(pipeline, [window]), atol=1e-5)
    plain = encode(pipeline, "a bright house, dull")
    assert (found - plain["prompt_embeds"]).abs().max() > 0.1
    assert torch.equal(encode(pipeline, "a (bright:1) house, dull")["prompt_embeds"], plain["prompt_embeds"])


@pytest.mark.parametrize("family", ["stable-diffusion", "stable-diffusion-xl"])
def test_a_long_prompt_goes_on_in_windows(pipelines, family):
    pipeline = pipelines(family)
    tokens = ids(pipeline.tokenizer, LONG)
    assert len(tokens) > 2 * 75
    found = encode(pipeline, LONG, "dull")
    cut = [tokens[k : k + 75] for k in range(0, len(tokens), 75)]
    columns = []
    for end in ("", "_2") if family.endswith("xl") else ("",):
        encoder = getattr(pipeline, f"text_encoder{end}")
        tokenizer, layer = getattr(pipeline, f"tokenizer{end}"), -2 if family.endswith("xl") else -1
        columns.append(torch.cat([hidden(encoder, tokenizer, part, layer) for part in cut], dim=1))
    expected = torch.cat(columns, dim=-1)
    if not family.endswith("xl"):
        expected = getattr(encoder, "text_model", encoder).final_layer_norm(expected)
    assert torch.allclose(found["prompt_embeds"], expected, atol=1e-5)
    # The shorter of both prompts is filled up with empty windows.
    short = by_hand(pipeline, [[("dull", 1)], *[[]] * (len(cut) - 1)])
    assert torch.allclose(found["negative_prompt_embeds"], short, atol=1e-5)
    late = encode(pipeline, f"{LONG} dog", "dull")["prompt_embeds"]
    assert (late - found["prompt_embeds"]).abs().max() > 0.1, "the last word counts"
    if family.endswith("xl"):
        first = encode(pipeline, "x", guided=False)["pooled_prompt_embeds"]
        assert not torch.allclose(found["pooled_prompt_embeds"], first)
        assert torch.equal(
            found["pooled_prompt_embeds"], encode(pipeline, f"{LONG} dog")["pooled_prompt_embeds"]
        )


def test_a_break_starts_a_window(pipelines):
    pipeline = pipelines("stable-diffusion")
    found = encode(pipeline, "a bright BREAK (house:1.2)")["prompt_embeds"]
    expected = by_hand(pipeline, [[("a bright", 1)], [("house", 1.2)]])
    assert found.shape[1] == 2 * 77
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("family", ["stable-diffusion", "stable-diffusion-xl", "stable-diffusion-3"])
def test_layers_of_the_prompt_are_skipped_and_none_of_the_negative_one(pipelines, family):
    pipeline = pipelines(family)
    whole = encode(pipeline, "a bright house", "dull")
    # The small encoders have two layers, of which one is skipped by Stable Diffusion XL and 3 anyway.
    skip = 1 if family == "stable-diffusion" else 0
    found = encode(pipeline, "a bright house", "dull", clip_skip=skip)
    clip = by_hand(pipeline, [[("a bright house", 1)]], skip=skip)
    assert torch.allclose(found["prompt_embeds"][:, :77, : clip.shape[-1]], clip, atol=1e-5)
    assert torch.equal(found["negative_prompt_embeds"], whole["negative_prompt_embeds"])
    if skip:
        assert (found["prompt_embeds"] - whole["prompt_embeds"]).abs().max() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_short_plain_prompts_are_encoded_as_the_pipeline_does(pipelines, family):
    pipeline = pipelines(family)
    more = {"prompt_2": None} if family != "stable-diffusion" else {}
    more |= {"prompt_3": None} if family == "stable-diffusion-3" else {}
    if family != "flux":
        more |= {"do_classifier_free_guidance": True, "negative_prompt": "dull"}
    with torch.no_grad():
        stock = pipeline.encode_prompt("a house", device="cpu", num_images_per_prompt=1, **more)
    found = encode(pipeline, "a house", "dull")
    names = (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    )
    if family == "flux":
        names = ("prompt_embeds", "pooled_prompt_embeds")
    for name, theirs in zip(names, stock, strict=False):
        assert torch.equal(found[name], theirs), name


def test_no_negative_prompt_of_stable_diffusion_xl_is_zero_in_every_window(pipelines):
    found = encode(pipelines("stable-diffusion-xl"), LONG)
    assert found["negative_prompt_embeds"].shape == found["prompt_embeds"].shape
    assert not found["negative_prompt_embeds"].any()
    assert not found["negative_pooled_prompt_embeds"].any()


@pytest.mark.parametrize(
    ("family", "tokenizer", "window"), [("stable-diffusion-3", "_3", 256), ("flux", "_2", 512)]
)
def test_a_t5_is_not_given_more_than_it_reads(pipelines, small_checkpoint, family, tokenizer, window):
    pipeline = pipelines(family)
    folder = small_checkpoint(FAMILIES[family]) / f"tokenizer{tokenizer}"
    fits = "ab" * ((window - 2) // 2)
    count = len(getattr(pipeline, f"tokenizer{tokenizer}")(fits).input_ids)
    assert count_tokens(fits, folder) == count <= window
    encode(pipeline, fits)
    long = "ab" * window
    with pytest.raises(ValueError, match=f"at most {window} tokens, this has {count_tokens(long, folder)}"):
        encode(pipeline, long)
    with pytest.raises(ValueError, match="no weights"):
        encode(pipeline, "(a:1.2)")
