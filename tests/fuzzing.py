"""What tests of drawn input share: how many are drawn, and what a configuration may hold, read from its schema.

A sample is drawn in CI, always the same; with ``HESSGEO_FUZZ=full`` (``make fuzz``) so many as are stated, others each
time.
"""

import os
import re
import string

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

FULL = os.environ.get("HESSGEO_FUZZ") == "full"


def drawn(sample, full):
    """So many examples of a test: of CI, and of ``make fuzz``. Nothing is kept between runs."""
    return settings(
        max_examples=full if FULL else sample,
        derandomize=not FULL,
        database=None,
        deadline=None,
        # What was drawn is said whole, and small: to look for less of it takes minutes.
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


# --- what a schema permits, by other code than the project's ---

KINDS = {
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float) and abs(value) < float("inf"),
    "boolean": lambda value: type(value) is bool,
    "string": lambda value: type(value) is str,
    "null": lambda value: value is None,
    "array": lambda value: type(value) is list,
    "object": lambda value: type(value) is dict,
}


def permits(schema, value):
    """Whether a schema permits a value: types are exact, but for whole numbers among numbers."""
    if "anyOf" in schema and not any(permits(one, value) for one in schema["anyOf"]):
        return False
    if "allOf" in schema and not all(permits(one, value) for one in schema["allOf"]):
        return False
    if "not" in schema and permits(schema["not"], value):
        return False
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if choices is not None and not any(type(value) is type(one) and value == one for one in choices):
        return False
    if "type" in schema and not KINDS[schema["type"]](value):
        return False
    if type(value) in (int, float):
        return _within(schema, value)
    if type(value) is str:
        length = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        return length and bool(re.search(schema.get("pattern", ""), value))
    if type(value) is list:
        size = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        twice = schema.get("uniqueItems") and any(one in value[:place] for place, one in enumerate(value))
        return size and not twice and all(permits(schema.get("items", {}), one) for one in value)
    return type(value) is not dict or _permits_mapping(schema, value)


def _within(schema, value):
    return (
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
        and not ("exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"])
        and not ("exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"])
        and not ("multipleOf" in schema and value % schema["multipleOf"])
    )


def _permits_mapping(schema, value):
    size = schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value))
    if not size or set(schema.get("required", ())) - set(value):
        return False
    known, more = schema.get("properties", {}), schema.get("additionalProperties", {})
    for key, entry in value.items():
        if not permits(schema.get("propertyNames", {}), key):
            return False
        if key not in known and more is False:
            return False
        if not permits(known.get(key, more), entry):
            return False
    return True


# --- what it permits, drawn ---

PLAIN = st.characters(exclude_categories=("C", "Zl", "Zp"))
NAME = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,63}", fullmatch=True)


def permitted(schema):
    """Values that a schema permits; of texts with a pattern names and paths alone."""
    # A schema is read once, and lasts: what is drawn from a large one takes as long to state as to draw.
    return _once(_permitted, schema)


def _once(state, schema, _stated={}):  # noqa: B006 - kept on purpose
    key = (state, id(schema))
    if key not in _stated:
        _stated[key] = (schema, st.deferred(lambda: state(schema)))
    return _stated[key][1]


def _permitted(schema):
    if "anyOf" in schema:
        return st.one_of([permitted(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    return {
        "integer": _whole,
        "number": lambda schema: st.one_of(_numbers(schema), _whole(schema)),
        "boolean": lambda _: st.booleans(),
        "null": lambda _: st.none(),
        "string": _texts,
        "array": lambda schema: st.lists(
            permitted(schema["items"]),
            min_size=schema.get("minItems", 0),
            max_size=min(schema.get("maxItems", 4), max(4, schema.get("minItems", 0))),
            unique_by=repr if schema.get("uniqueItems") else None,
        ),
        "object": _mappings,
    }[schema["type"]](schema).filter(lambda value: permits(schema, value))


def _whole(schema):
    step = schema.get("multipleOf", 1)
    low, high = schema.get("minimum", schema.get("exclusiveMinimum", -(10**6))), _upper(schema)
    low, high = -(-low // step), high // step
    return st.integers(int(low), int(high)).map(lambda value: value * step) if low <= high else st.nothing()


def _upper(schema):
    return schema.get("maximum", schema.get("exclusiveMaximum", 10**6))


def _numbers(schema):
    low = schema.get("minimum", schema.get("exclusiveMinimum", -1e6))
    return st.floats(
        low,
        _upper(schema),
        exclude_min="exclusiveMinimum" in schema,
        exclude_max="exclusiveMaximum" in schema,
    )


def _texts(schema):
    pattern = schema.get("pattern", "")
    if pattern.startswith("^[A-Za-z]"):
        return NAME
    if ending := re.search(r"\[\.\]\(([a-z|]+)\)", pattern):
        endings = st.sampled_from(ending[1].split("|"))
        return st.tuples(st.text(PLAIN, max_size=20), endings).map(".".join)
    return st.text(PLAIN, min_size=schema.get("minLength", 0), max_size=20)


def _mappings(schema):
    known, needed = schema.get("properties", {}), schema.get("required", ())
    more = schema.get("additionalProperties")
    if not known and more:
        names = permitted(schema["propertyNames"]) if "type" in schema.get("propertyNames", {}) else NAME
        return st.dictionaries(names, permitted(more), max_size=2)
    # A few entries of a section are enough: each is drawn by itself too.
    some = st.sets(st.sampled_from(sorted(known)), max_size=3) if known else st.just(set())
    return some.flatmap(
        lambda keys: st.fixed_dictionaries({key: permitted(known[key]) for key in sorted({*keys, *needed})})
    )


# --- what nobody permits ---

CONTROL = st.text(st.characters(categories=("Cc", "Zl", "Zp", "Cf", "Zs", "Lo")), min_size=1, max_size=9)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**39), 10**39),
    st.floats(),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e308, 5e-324, -0.0, 10**38]),
    st.text(string.printable, max_size=30),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=30),
    CONTROL,
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(
        ["yes", "No", "off", "null", "~", "1e-3", "0x1F", "1_000", "010", "1:30", "{x}", "../..", "=", "<<"]
    ),
    st.text("x", min_size=1_000, max_size=5_000),
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.text(string.printable, max_size=9), inner, max_size=3),
    ),
    max_leaves=12,
)


def broken(schema):
    """Values that a schema does not permit: anything, and what is nearly right."""
    return _once(_broken, schema)


def _broken(schema):
    return st.one_of(JUNK, _near(schema)).filter(lambda value: not permits(schema, value))


def _near(schema):
    near = [
        st.sampled_from(schema.get("enum", ["auto"])).flatmap(
            lambda one: st.sampled_from(
                [f"{one} ", str(one).upper(), f"{one}s", [one], {str(one): one}, str(one)[:-1]]
            )
        )
    ]
    kind = schema.get("type")
    if "anyOf" in schema:
        near = [_near(one) for one in schema["anyOf"]]
    elif kind in ("integer", "number"):
        edges = [
            schema[key]
            for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
            if key in schema
        ]
        for edge in edges:
            near.append(
                st.sampled_from(
                    [edge, edge - 1, edge + 1, edge * (1 + 1e-15), float(edge), edge + 0.5, -edge]
                )
            )
            near.append(st.just(f"{edge}"))
    elif kind == "array":
        one = permitted(schema["items"])
        near += [
            st.just([]),
            st.lists(
                one,
                min_size=1,
                max_size=schema.get("maxItems", 4) + 1 if schema.get("maxItems", 4) < 20 else 4,
            ),
            one.map(lambda value: [value, value]),
            st.tuples(one, broken(schema["items"])).map(list),
            one,
        ]
    elif kind == "object" and "properties" in schema:
        known = sorted(schema["properties"])
        typos = st.sampled_from(known).flatmap(
            lambda key: st.sampled_from(
                [f"{key}s", key[1:], key.upper(), f"{key} ", key.replace("_", "-"), f"{key}\n"]
            )
        )
        near.append(
            st.tuples(permitted(schema), typos, SCALARS).map(lambda drawn: {**drawn[0], drawn[1]: drawn[2]})
        )
        if needed := schema.get("required"):
            lacking = st.tuples(permitted(schema), st.sampled_from(needed))
            near.append(lacking.map(lambda drawn: {k: v for k, v in drawn[0].items() if k != drawn[1]}))
    elif kind == "object":
        names = st.sampled_from(
            ["", " ", "a b", "1a", "a/b", "a\n", "-", "é", "a" * 65, "models", "LOGS", "..", "{x}"]
        )
        near.append(
            st.tuples(names, permitted(schema["additionalProperties"])).map(lambda pair: dict([pair]))
        )
    return st.one_of(near)


def entries(schema, names, path=()):
    """Path and schema of every entry below one; names stand for those that a user gives to entries of a mapping."""
    if path:
        yield path, schema
    for key, part in schema.get("properties", {}).items():
        yield from entries(part, names, (*path, key))
    more, name = schema.get("additionalProperties"), names.get(".".join(path))
    if isinstance(more, dict) and name:
        yield from entries(more, names, (*path, name))


# --- texts that are no configuration, whatever they say ---

TINY = """studies:
  tiny:
    seed: 5
    system:
      steps: 4
      dtype: float32
    sampling: {grid: [16, 16]}
"""
LINES = TINY.splitlines()
KEYED = [number for number, line in enumerate(LINES) if line.strip()]
TAGS = [
    "!!python/object/apply:os.system", "!!python/name:os.system", "!!python/object/new:os._exit", "!!binary", "!!set",
    "!!omap", "!!pairs", "!!timestamp", "!include", "!", "!<tag:example.org,2026:x>", "!!str !!int", "!!int", "!!merge",
]  # fmt: skip


def _with_line(number, change):
    return "\n".join([*LINES[:number], *change(LINES[number]), *LINES[number + 1 :]]) + "\n"


def _seed(value):
    return TINY.replace("seed: 5", f"seed: {value}")


def _laughs(width, depth):
    levels = [f"  a0: &a0 [{', '.join('x' * width)}]"]
    for level in range(1, depth):
        levels.append(f"  a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]")
    return "studies:\n" + "\n".join(levels)


digits = st.text("01234567", min_size=1, max_size=12)
# Of each kind: a text or bytes, and words that its line must have.
BROKEN_TEXTS = st.one_of(
    st.sampled_from(KEYED).map(lambda number: (_with_line(number, lambda line: [line, line]), "twice")),
    st.tuples(st.sampled_from([5, 2, 4]), st.sampled_from(TAGS)).map(
        lambda drawn: (_with_line(drawn[0], lambda line: [f"{line.partition(':')[0]}: {drawn[1]} x"]), "")
    ),
    digits.map(lambda text: (_seed(f"0{text}"), "another number in YAML 1.1")),
    st.tuples(st.integers(1, 59), st.integers(0, 59)).map(
        lambda pair: (_seed(f"{pair[0]}:{pair[1]:02}"), "another number in YAML 1.1")
    ),
    st.dates().filter(lambda day: day.year > 999).map(lambda day: (_seed(day.isoformat()), "is a date")),
    st.integers(10**41, 10**60).map(lambda value: (_seed(value), "a whole number of")),
    st.integers(4_300, 9_000).map(lambda count: (_seed("7" * count), f"a whole number of {count} digits")),
    st.sampled_from(["&s {a: *s}", "&s [*s]", "&s [[{x: *s}]]", "&s {<<: *s}"]).map(
        lambda text: (_seed(text), "refers to itself")
    ),
    st.tuples(st.integers(10, 30), st.integers(6, 40)).map(lambda pair: (_laughs(*pair), "it refers to too much")),
    st.integers(2, 40).map(lambda count: (_laughs(1, 52 + count), "it refers to too much")),
    st.tuples(st.sampled_from(["[", "{a: ", "- ", "? "]), st.integers(60, 20_000)).map(
        lambda pair: (pair[0] * pair[1], "nests more than 50 deep")
    ),
    NAME.map(lambda name: (_seed(f"*{name}"), "undefined alias")),
    st.tuples(st.integers(0, len(TINY)), st.integers(0x80, 0xFF)).map(
        lambda pair: (TINY.encode()[: pair[0]] + bytes([pair[1]]) + TINY.encode()[pair[0] :], "no UTF-8")
    ),
    st.tuples(st.integers(0, len(TINY)), st.sampled_from([*range(9), *range(14, 32), 0x7F])).map(
        lambda pair: (f"{TINY[: pair[0]]}{chr(pair[1])}{TINY[pair[0] :]}", "control characters")
    ),
    st.sampled_from(["[", "{", "'", '"', "{a: [1, 2}", "[1, 2"]).map(lambda text: (_seed(text), "allowed: YAML")),
    st.sampled_from(["---\n", "---\nrun: [tiny]\n", "...\n---\n", "--- x\n"]).map(
        lambda text: (TINY + text + "run: [tiny]", "")
    ),
    st.sampled_from(KEYED).map(lambda number: (_with_line(number, lambda line: ["\t" + line]), "")),
    st.sampled_from(["3", "x", "- a", "[]", "''", "1.5", "true", "# x", "", "\n", "---", "~", "null", "[tiny]"]).map(
        lambda text: (text, "a mapping")
    ),
    st.sampled_from(["1", "1.5", "true", "no", "~", "", "2026-01-01", "[a]", "{a: 1}", "? [a]\n   "]).map(
        lambda key: (f"studies:\n  {key}: {{}}\n", "")
    ),
)  # fmt: skip
