"""Files whose prefix or header text is at fault."""

from __future__ import annotations

from collections.abc import Iterator

from binary import (
    ENCRYPTED,
    assemble,
    dumps,
    header,
    prefix,
    spaced,
)
from refusal import GOOD, TEXT, Vector, edited, refuse, replace
from valid import W, one


def prefixes() -> Iterator[Vector]:
    yield refuse("prefix_no_bytes", "prefix.truncated", "the file is empty", b"")
    yield refuse("prefix_23_bytes", "prefix.truncated", "the prefix lacks its last byte", GOOD[:23])
    yield refuse(
        "prefix_magic", "prefix.magic", "one letter of the magic differs", b"DTLEGIOM" + GOOD[8:]
    )
    yield refuse(
        "prefix_magic_lower", "prefix.magic", "the magic in lower case", b"dtlegion" + GOOD[8:]
    )
    for version, word in ((0, "zero"), (2, "two"), (1 << 24, "one in big-endian order")):
        data = prefix(len(spaced(TEXT)), version=version) + GOOD[24:]
        yield refuse(f"prefix_version_{version}", "prefix.version", f"format version {word}", data)
    for bit in (3, 7, 31):
        data = assemble(TEXT, W, flags=1 << bit)
        yield refuse(f"prefix_flag_{bit}", "prefix.flags", f"flag bit {bit} has no meaning", data)
    yield refuse(
        "prefix_encrypted",
        "prefix.encrypted",
        "the reserved flag for encryption",
        assemble(TEXT, W, flags=ENCRYPTED),
    )
    yield refuse(
        "header_len_past_end",
        "header.truncated",
        "the header is longer than the file",
        prefix(len(GOOD) - 23) + GOOD[24:],
    )
    yield refuse("header_len_cut", "header.truncated", "the file ends inside the header", GOOD[:99])
    text = dumps(header({}))
    text += b" " * (-(len(text) + 3) % 8)
    yield refuse(
        "header_padding_cut",
        "header.truncated",
        "the file ends inside the padding",
        prefix(len(text)) + text + b"\0",
    )
    for bytes_, word in (
        (100_000_001, "one byte over the limit"),
        (1 << 63, "2^63"),
        ((1 << 64) - 24, "wraps to zero with the prefix"),
        ((1 << 64) - 1, "2^64 - 1"),
    ):
        yield refuse(
            f"limit_header_{bytes_}",
            "limit.header_bytes",
            f"a header length that {word}" if "wraps" in word else f"a header length of {word}",
            prefix(bytes_) + GOOD[24:],
        )


def texts() -> Iterator[Vector]:
    def json(name: str, why: str, text: bytes) -> Vector:
        return refuse(f"json_{name}", "header.json", why, assemble(text, W))

    yield refuse(
        "utf8_stray_byte",
        "header.utf8",
        "a byte that UTF-8 never has",
        assemble(replace(TEXT, "0.4.0", b"\xff"), W),
    )
    yield refuse(
        "utf8_overlong",
        "header.utf8",
        "an overlong slash",
        assemble(replace(TEXT, "0.4.0", b"\xc0\xaf"), W),
    )
    yield refuse(
        "utf8_surrogate",
        "header.utf8",
        "a surrogate encoded in three bytes",
        assemble(replace(TEXT, "0.4.0", b"\xed\xa0\x80"), W),
    )
    yield refuse(
        "utf8_in_name",
        "header.utf8",
        "a tensor's name cut inside a character",
        assemble(replace(TEXT, '"w"', b'"\xf0\x9f\x99"'), W),
    )
    yield refuse("json_no_bytes", "header.json", "a header of no bytes", prefix(0) + W)
    yield json("only_spaces", "a header of spaces", b" " * 40)
    for name, why, text in (
        ("array", "the header is an array", b"[]"),
        ("string", "the header is a string", b'"deathtensors"'),
        ("null", "the header is null", b"null"),
        ("number", "the header is a number", b"1"),
        ("bom", "a byte order mark before the object", b"\xef\xbb\xbf" + TEXT),
        ("space_before", "a space before the object", b" " + TEXT),
        ("newline_before", "a newline before the object", b"\n" + TEXT),
        ("unclosed", "the last brace is missing", TEXT[:-1]),
        ("cut_in_string", "the text ends inside a string", TEXT[: TEXT.index(b"0.4.0")]),
        (
            "cut_in_escape",
            "the text ends inside an escape",
            TEXT[: TEXT.index(b"0.4.0")] + b"\\u00",
        ),
        ("trailing_comma", "a comma before the closing brace", TEXT[:-1] + b",}"),
        (
            "array_trailing_comma",
            "a comma before the closing bracket",
            replace(TEXT, "[4]", "[4,]"),
        ),
        ("no_comma", "two members without a comma", replace(TEXT, ',"created_by"', '"created_by"')),
        ("no_colon", "a member without a colon", replace(TEXT, '"shape":', '"shape"')),
        ("comment", "a comment", replace(TEXT, '"shape":', '/**/"shape":')),
        ("single_quotes", "single quotes", replace(TEXT, '"w"', "'w'")),
        ("bare_key", "a key without quotes", replace(TEXT, '"w"', "w")),
        ("raw_newline", "an unescaped newline in a string", replace(TEXT, '"w"', '"\n"')),
        ("raw_nul", "an unescaped NUL in a string", replace(TEXT, '"w"', '"\0"')),
        ("form_feed", "a form feed is not JSON whitespace", replace(TEXT, '{"w"', '{\f"w"')),
        ("bad_escape", "an escape that JSON does not have", replace(TEXT, '"w"', '"\\x77"')),
        ("short_unicode", "a \\u with three digits", replace(TEXT, '"w"', '"\\u007"')),
        ("lone_high", "a high surrogate alone", replace(TEXT, '"w"', '"\\ud83d"')),
        ("lone_low", "a low surrogate alone", replace(TEXT, '"w"', '"\\ude42"')),
        ("high_high", "two high surrogates", replace(TEXT, '"w"', '"\\ud83d\\ud83d"')),
        ("leading_zero", "a number with a leading zero", replace(TEXT, "[4]", "[04]")),
        ("plus_sign", "a number with a plus sign", replace(TEXT, "[4]", "[+4]")),
        ("hex_number", "a hexadecimal number", replace(TEXT, "[4]", "[0x4]")),
        ("nan", "NaN in a field that is otherwise ignored", TEXT[:-1] + b',"later":NaN}'),
        ("bare_point", "a number that ends in a point", TEXT[:-1] + b',"later":1.}'),
        ("bare_exponent", "an exponent without digits", TEXT[:-1] + b',"later":1e}'),
        ("capital_true", "True for true", TEXT[:-1] + b',"later":True}'),
        ("two_values", "a field with two values", TEXT[:-1] + b',"later":1 2}'),
    ):
        yield json(name, why, text)
    for name, why, tail in (
        ("newline", "a newline after the object", b"\n"),
        ("nul", "NUL after the object", b"\0"),
        ("object", "a second object", b" {}"),
        ("brace", "one brace too many", b"}"),
        ("after_spaces", "a letter after many spaces", b" " * 30 + b"x"),
    ):
        yield refuse(f"trailing_{name}", "header.trailing", why, assemble(TEXT + tail, W))


def structures() -> Iterator[Vector]:
    code = "header.duplicate_key"
    yield edited(
        "duplicate_format",
        code,
        "the same field twice at the top",
        '"format":',
        '"format":"deathtensors","format":',
    )
    yield edited(
        "duplicate_tensors", code, "two tables of tensors", '"tensors":', '"tensors":{},"tensors":'
    )
    double = '"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"w":'
    yield edited("duplicate_tensor", code, "two tensors of one name", '"w":', double, "w")
    yield edited(
        "duplicate_tensor_escaped",
        code,
        "the same name, spelled with an escape",
        '"w":',
        double.replace('"w":', '"\\u0077":', 1),
        "w",
    )
    yield edited(
        "duplicate_dtype",
        code,
        "a tensor with two dtypes",
        '"dtype":',
        '"dtype":"U8","dtype":',
        "w",
    )
    yield edited(
        "duplicate_metadata_key",
        code,
        "a tensor's metadata with a key twice",
        '"metadata":{}',
        '"metadata":{"k":"1","k":"2"}',
        "w",
    )
    yield edited(
        "duplicate_global_key",
        code,
        "global metadata with a key twice",
        '"global_metadata":{}',
        '"global_metadata":{"k":"1","k":"1"}',
    )
    yield edited(
        "duplicate_unknown",
        code,
        "a key twice inside an ignored field",
        '"tensors":',
        '"later":[{"k":{"a":1,"a":1}}],"tensors":',
    )
    for name, old in (("top", '"tensors":'), ("tensor", '"dtype":')):
        levels = 16 if name == "top" else 14
        deep = '"later":' + "[" * levels + "]" * levels + ","
        yield edited(
            f"depth_17_{name}",
            "header.depth",
            "values nest 17 deep",
            old,
            deep + old,
            "w" if name == "tensor" else None,
        )
    objects = '"later":' + '{"a":' * 16 + "0" + "}" * 16 + ","
    yield edited(
        "depth_17_objects",
        "header.depth",
        "objects nest 17 deep",
        '"tensors":',
        objects + '"tensors":',
    )
    deep = '"later":' + "[" * 1500 + "]" * 1500 + ","
    yield edited(
        "depth_1500", "header.depth", "arrays nest 1500 deep", '"tensors":', deep + '"tensors":'
    )

    yield edited(
        "format_other",
        "header.format",
        "another format's name",
        '"deathtensors",',
        '"deathtensor",',
    )
    yield edited(
        "format_case", "header.format", "the name in capitals", '"deathtensors",', '"DEATHTENSORS",'
    )
    for version in ("0", "2", "4294967297"):
        yield edited(
            f"format_version_{version}",
            "header.format_version",
            f"header version {version}",
            '"format_version":1',
            f'"format_version":{version}',
        )

    code = "header.missing_field"
    for name, old in (
        ("format", '"format":"deathtensors",'),
        ("format_version", '"format_version":1,'),
    ):
        yield edited(f"missing_{name}", code, f"no field {name}", old, "")
    yield refuse(
        "missing_tensors",
        code,
        "no field tensors",
        assemble(replace(dumps(header({})), ',"tensors":{}', "")),
    )
    yield refuse("missing_everything", code, "an empty object", assemble(b"{}"))
    for name, old in (
        ("dtype", '"dtype":"F32",'),
        ("shape", '"shape":[4],'),
        ("data_offsets", '"data_offsets":[0,16],'),
    ):
        yield edited(f"missing_{name}", code, f"a tensor without {name}", old, "", "w")


def types() -> Iterator[Vector]:
    code = "header.field_type"
    for name, why, old, new in (
        ("format", "format is a number", '"deathtensors",', "1,"),
        (
            "version_string",
            "format_version is a string",
            '"format_version":1',
            '"format_version":"1"',
        ),
        (
            "version_fraction",
            "format_version has a fraction",
            '"format_version":1',
            '"format_version":1.0',
        ),
        ("created_by", "created_by is a number", '"deathtensors 0.4.0"', "4"),
        (
            "global_array",
            "global_metadata is an array",
            '"global_metadata":{}',
            '"global_metadata":[]',
        ),
        (
            "global_null",
            "global_metadata is null",
            '"global_metadata":{}',
            '"global_metadata":null',
        ),
        (
            "global_value",
            "a global metadata value is a number",
            '"global_metadata":{}',
            '"global_metadata":{"k":1}',
        ),
        ("root", "root_sha256 is a number", '"tensors":', '"root_sha256":0,"tensors":'),
    ):
        yield edited(f"type_{name}", code, why, old, new)
    for name, why, text in (
        ("tensors_array", "tensors is an array", b"[]"),
        ("tensors_null", "tensors is null", b"null"),
    ):
        yield refuse(
            f"type_{name}",
            code,
            why,
            assemble(replace(dumps(header({})), '"tensors":{}', b'"tensors":' + text)),
        )
    whole = dumps(one()["tensors"]["w"]).decode()
    for name, why, old, new in (
        ("entry_array", "a tensor's entry is an array", whole, "[]"),
        ("entry_string", "a tensor's entry is a string", whole, '"F32"'),
        ("entry_null", "a tensor's entry is null", whole, "null"),
        ("dtype", "dtype is a number", '"F32"', "32"),
        ("shape_number", "shape is a number", "[4]", "4"),
        ("shape_string", "a dimension is a string", "[4]", '["4"]'),
        ("shape_nested", "a dimension is an array", "[4]", "[[4]]"),
        ("shape_null", "a dimension is null", "[4]", "[null]"),
        ("shape_negative", "a dimension is negative", "[4]", "[-4]"),
        ("shape_minus_zero", "a dimension is minus zero", "[4]", "[4,-0]"),
        ("shape_fraction", "a dimension has a fraction", "[4]", "[4.0]"),
        ("shape_exponent", "a dimension has an exponent", "[4]", "[4e0]"),
        ("shape_2_64", "a dimension does not fit in 64 bits", "[4]", "[18446744073709551616]"),
        ("offsets_one", "data_offsets with one number", "[0,16]", "[16]"),
        ("offsets_three", "data_offsets with three numbers", "[0,16]", "[0,16,16]"),
        ("offsets_none", "data_offsets with no number", "[0,16]", "[]"),
        ("offsets_object", "data_offsets is an object", "[0,16]", '{"start":0,"end":16}'),
        ("offsets_negative", "a negative offset", "[0,16]", "[-16,0]"),
        ("offsets_fraction", "an offset with a fraction", "[0,16]", "[0.0,16]"),
        ("offsets_2_64", "an end that wraps to 16", "[0,16]", "[0,18446744073709551632]"),
        ("metadata_array", "a tensor's metadata is an array", '"metadata":{}', '"metadata":[]'),
        ("metadata_null", "a tensor's metadata is null", '"metadata":{}', '"metadata":null'),
        ("metadata_value", "a metadata value is an object", '"metadata":{}', '"metadata":{"k":{}}'),
        ("sha256", "a digest is null", '"metadata":{}', '"metadata":{},"sha256":null'),
    ):
        yield edited(f"type_{name}", code, why, old, new, "w")
    text = TEXT + b" " * (-(len(TEXT) + 3) % 8)
    for at in (0, 2):
        padding = bytearray(3)
        padding[at] = 0x20
        yield refuse(
            f"padding_byte_{at}",
            "header.padding",
            "a space where NUL belongs",
            assemble(text, W, spaces=False, padding=bytes(padding)),
        )


def vectors() -> Iterator[Vector]:
    for group in (prefixes, texts, structures, types):
        yield from group()
