//! The shard index, ours and that of safetensors.

use crate::support::{code, header, map, name, plan, why};
use deathtensors_core::shards::{
    Shard, ShardIndex, assign, is_reserved_key, shard_metadata, shard_name,
};
use deathtensors_core::{Code, Dtype, Header, Limits, TensorSpec, WriteOptions};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn shard(path: &str, tensors: &[&str], bytes: u64) -> Shard {
    Shard {
        path: path.into(),
        tensors: tensors.iter().map(|&t| t.into()).collect(),
        bytes,
        root: None,
    }
}

/// The header of an index file with this metadata.
fn index_file(global: &BTreeMap<String, String>) -> Header {
    plan(&[], global, &WriteOptions::default()).header().clone()
}

fn with_list(count: &str, list: &str) -> Header {
    let marks = [
        ("deathtensors.sharded", "true"),
        ("deathtensors.shard.count", count),
        ("deathtensors.shards", list),
    ];
    index_file(&map(&marks))
}

fn parse(count: &str, list: &str) -> deathtensors_core::Result<ShardIndex> {
    ShardIndex::parse(&with_list(count, list), &Limits::DEFAULT)
}

#[test]
fn an_index_of_0_3_0() {
    let list = r#"[{"path": "m-00001-of-0002.deathtensors", "tensors": ["a", "b"], "bytes": 24}, {"path": "m-00002-of-0002.deathtensors", "tensors": ["\u00e9"], "bytes": 8}]"#;
    let index = parse("2", list).unwrap();
    let wanted = [
        shard("m-00001-of-0002.deathtensors", &["a", "b"], 24),
        shard("m-00002-of-0002.deathtensors", &["é"], 8),
    ];
    assert_eq!(index.shards, wanted);
    assert_eq!(index.names().collect::<Vec<_>>(), ["a", "b", "é"]);
    assert_eq!((index.len(), index.is_empty()), (3, false));
    assert_eq!(
        (index.find("b"), index.find("é"), index.find("c")),
        (Some(0), Some(1), None)
    );
    assert_eq!(
        why(index.get("bb")),
        (Code::TensorNotFound, Some("bb".into()))
    );
    assert!(
        index
            .get("bb")
            .unwrap_err()
            .expected_text()
            .unwrap()
            .contains("'b'")
    );
    assert!(parse("0", "[]").unwrap().is_empty());
}

#[test]
fn our_own_metadata() {
    let mut first = shard("m-00001-of-00002.deathtensors", &["\"a\""], 4);
    first.root = Some([0xab; 32]);
    let index =
        ShardIndex::new(vec![first, shard("m-00002-of-00002.deathtensors", &[], 0)]).unwrap();
    let user = map(&[
        ("k", "v"),
        ("deathtensors.shard.index", "7"),
        ("deathtensors.shards", "[]"),
    ]);
    let wanted = map(&[
        ("deathtensors.shard.count", "2"),
        ("deathtensors.sharded", "true"),
        (
            "deathtensors.shards",
            &format!(
                r#"[{{"path":"m-00001-of-00002.deathtensors","tensors":["\"a\""],"bytes":4,"root_sha256":"{}"}},{{"path":"m-00002-of-00002.deathtensors","tensors":[],"bytes":0}}]"#,
                "ab".repeat(32)
            ),
        ),
        ("k", "v"),
    ]);
    assert_eq!(index.metadata(&user), wanted);
    let wanted = map(&[
        ("deathtensors.shard.count", "12"),
        ("deathtensors.shard.index", "3"),
        ("k", "v"),
    ]);
    assert_eq!(shard_metadata(3, 12, &user), wanted);
    let file = index_file(&index.metadata(&user));
    assert_eq!(
        ShardIndex::user_metadata(&file).collect::<Vec<_>>(),
        [("k", "v")]
    );
    assert!(is_reserved_key("deathtensors.shards") && !is_reserved_key("deathtensors.source"));
}

#[test]
fn names_of_shards() {
    assert_eq!(
        shard_name("model", 0, 10, ".deathtensors"),
        "model-00001-of-00010.deathtensors"
    );
    assert_eq!(
        shard_name("m", 99_999, 123_456, ".dt"),
        "m-100000-of-123456.dt"
    );
}

#[test]
fn what_is_not_an_index() {
    let limits = Limits::DEFAULT;
    let mark = |value: &str| index_file(&map(&[("deathtensors.sharded", value)]));
    for file in [index_file(&map(&[])), mark("True"), mark("")] {
        assert!(!ShardIndex::is_index(&file));
        assert_eq!(
            code(ShardIndex::parse(&file, &limits)),
            Code::ShardsNotIndex
        );
    }
    let marks = map(&[
        ("deathtensors.sharded", "true"),
        ("deathtensors.shard.count", "0"),
        ("deathtensors.shards", "[]"),
    ]);
    let tensors = plan(
        &[TensorSpec::new("w", Dtype::U8, [])],
        &marks,
        &WriteOptions::default(),
    );
    assert_eq!(
        code(ShardIndex::parse(tensors.header(), &limits)),
        Code::ShardsNotIndex
    );
    assert!(ShardIndex::is_index(&mark("true")));
    assert_eq!(
        code(ShardIndex::parse(&mark("true"), &limits)),
        Code::ShardsList
    );
}

#[test]
fn malformed_lists() {
    let one = r#"{"path":"p","tensors":["a"],"bytes":1}"#;
    for (count, list) in [
        ("1", String::new()),
        ("1", "{}".into()),
        ("1", "null".into()),
        ("1", "[".into()),
        ("1", "[1]".into()),
        ("1", format!("[{one}]x")),
        ("1", format!("[{one},]")),
        ("1", r#"[{"tensors":["a"],"bytes":1}]"#.into()),
        ("1", r#"[{"path":"p","bytes":1}]"#.into()),
        ("1", r#"[{"path":"p","tensors":["a"]}]"#.into()),
        ("1", r#"[{"path":"p","tensors":"a","bytes":1}]"#.into()),
        ("1", r#"[{"path":"p","tensors":[1],"bytes":1}]"#.into()),
        ("1", r#"[{"path":"p","tensors":["a"],"bytes":-1}]"#.into()),
        ("1", r#"[{"path":"p","tensors":["a"],"bytes":1.5}]"#.into()),
        ("1", r#"[{"path":"p","path":"p","tensors":["a"],"bytes":1}]"#.into()),
        ("1", r#"[{"path":"p","tensors":["a"],"bytes":1,"root_sha256":"00"}]"#.into()),
        ("1", format!("[{{\"path\":\"p\",\"tensors\":[],\"bytes\":0,\"x\":{}{}}}]", "[".repeat(20), "]".repeat(20))),
        ("2", format!("[{one}]")),
        ("01", format!("[{one}]")),
        ("", format!("[{one}]")),
        ("2", format!("[{one},{one}]")),
        ("2", format!(r#"[{one},{{"path":"q","tensors":["a"],"bytes":1}}]"#)),
        ("1", r#"[{"path":"p","tensors":["a","a"],"bytes":1}]"#.into()),
        ("2", r#"[{"path":"p","tensors":[],"bytes":18446744073709551615},{"path":"q","tensors":[],"bytes":1}]"#.into()),
    ] {
        assert_eq!(code(parse(count, &list)), Code::ShardsList, "{count} {list}");
    }
    assert!(parse("1", &format!("[{one}]")).is_ok());
    assert!(
        parse(
            "1",
            r#"[{"path":"p","tensors":["a"],"bytes":1,"more":{"x":[]}}]"#
        )
        .is_ok()
    );
    assert_eq!(
        code(parse("1", r#"[{"path":"p","tensors":[""],"bytes":1}]"#)),
        Code::TensorNameEmpty
    );
    assert_eq!(
        code(parse(
            "1",
            r#"[{"path":"p","tensors":["\u0000"],"bytes":1}]"#
        )),
        Code::TensorNameNul
    );
    let twice = parse(
        "2",
        r#"[{"path":"p","tensors":["a","b"],"bytes":1},{"path":"q","tensors":["b"],"bytes":1}]"#,
    );
    let error = twice.unwrap_err();
    assert_eq!(
        (error.tensor_name(), error.found_text()),
        (Some("b"), Some("'p' and 'q'"))
    );
    let mut limits = Limits::DEFAULT;
    limits.tensors = 1;
    let list = with_list("1", r#"[{"path":"p","tensors":["a","b"],"bytes":1}]"#);
    assert_eq!(code(ShardIndex::parse(&list, &limits)), Code::LimitTensors);
}

#[test]
fn paths_are_plain_file_names() {
    let check = |path: &str| ShardIndex::new(vec![shard(path, &[], 0)]);
    for bad in [
        "",
        ".",
        "..",
        "../m",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "..\\b",
        "C:b",
        "c:",
        "m:stream",
        "a\0b",
        "a\nb",
        "\u{7f}",
        "\u{85}",
        " m",
        "m ",
        "m.",
        "m..",
        "...",
        "CON",
        "con",
        "Nul.deathtensors",
        "aux.tar.gz",
        "PRN ",
        "COM1",
        "com9.dt",
        "LPT5",
        "lpt0.x",
        "COM¹",
        "LPT³.dt",
        "CONIN$",
        "conout$.x",
        "NUL .dt",
    ] {
        assert_eq!(code(check(bad)), Code::ShardsPath, "{bad:?}");
    }
    for good in [
        "m",
        ".hidden",
        "m-00001-of-00002.deathtensors",
        "é 日本.dt",
        "CONSOLE",
        "COM",
        "COM10",
        "LPTX",
        "nul1",
        "a..b",
        "(x)",
    ] {
        assert!(check(good).is_ok(), "{good:?}");
    }
    assert!(check(&"x".repeat(255)).is_ok());
    assert_eq!(code(check(&"x".repeat(256))), Code::ShardsPath);
    assert_eq!(code(check(&"é".repeat(128))), Code::ShardsPath);
}

#[test]
fn a_shard_holds_what_was_promised() {
    let index = ShardIndex::new(vec![shard("p", &["a", "b"], 2), shard("q", &["c"], 1)]).unwrap();
    let holding = |names: &[&str]| {
        let entries = names
            .iter()
            .map(|n| format!(r#""{n}":{{"dtype":"U8","shape":[],"data_offsets":[0,1]}}"#));
        header(&entries.collect::<Vec<_>>().join(","))
    };
    assert!(index.check_shard(0, &holding(&["b", "a"])).is_ok());
    assert!(index.check_shard(1, &holding(&["c"])).is_ok());
    let refused = |nth, names: &[&str]| why(index.check_shard(nth, &holding(names)));
    assert_eq!(refused(0, &["a"]), (Code::ShardsMismatch, Some("b".into())));
    assert_eq!(
        refused(0, &["a", "b", "c"]),
        (Code::ShardsMismatch, Some("c".into()))
    );
    assert_eq!(
        refused(0, &["a", "b", "x"]),
        (Code::ShardsMismatch, Some("x".into()))
    );
    assert_eq!(refused(1, &[]), (Code::ShardsMismatch, Some("c".into())));
    assert_eq!(refused(2, &[]), (Code::ShardsMismatch, None));
}

#[test]
fn indices_of_safetensors() {
    let limits = Limits::DEFAULT;
    let read = |text: &str| ShardIndex::parse_safetensors_index(text.as_bytes(), &limits);
    let index = read(
        r#"{
  "metadata": {"total_size": 3.0e1},
  "weight_map": {
    "b": "model-00001-of-00002.safetensors",
    "a": "model-00002-of-00002.safetensors",
    "c": "model-00001-of-00002.safetensors"
  }
}
"#,
    )
    .unwrap();
    let wanted = [
        shard("model-00001-of-00002.safetensors", &["b", "c"], 0),
        shard("model-00002-of-00002.safetensors", &["a"], 0),
    ];
    assert_eq!(index.shards, wanted);
    assert_eq!(index.find("a"), Some(1));
    for text in ["", "[]", "hello", r#"{"metadata":{}}"#, "{}"] {
        assert_eq!(code(read(text)), Code::ShardsNotIndex, "{text}");
    }
    assert_eq!(
        code(ShardIndex::parse_safetensors_index(b"\xff", &limits)),
        Code::ShardsNotIndex
    );
    for text in [
        r#"{"weight_map":[]}"#,
        r#"{"weight_map":{"a":1}}"#,
        r#"{"weight_map":{"a":"p"}"#,
        r#"{"weight_map":{"a":"p"}} x"#,
        r#"{"weight_map":{},"weight_map":{}}"#,
        r#"{"weight_map":{"a":"p","a":"q"}}"#,
        r#"{"weight_map":{"a":"p","a":"p"}}"#,
    ] {
        assert_eq!(code(read(text)), Code::ShardsList, "{text}");
    }
    assert_eq!(
        code(read(r#"{"weight_map":{"a":"../p"}}"#)),
        Code::ShardsPath
    );
}

proptest! {
    #[test]
    fn indices_come_back(
        names in prop::collection::btree_map(name(), 0usize..5, 0..20),
        sizes in prop::collection::vec(any::<u32>(), 5),
        rooted in any::<bool>(),
        user in crate::support::pairs(),
    ) {
        let mut shards: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(nth, &bytes)| Shard {
                path: shard_name("stem é", nth, sizes.len(), ".deathtensors"),
                tensors: Vec::new(),
                bytes: bytes.into(),
                root: rooted.then_some([nth as u8; 32]),
            })
            .collect();
        for (name, &nth) in &names {
            shards[nth].tensors.push(name.clone());
        }
        let index = ShardIndex::new(shards.clone()).unwrap();
        let file = index_file(&index.metadata(&user));
        prop_assert!(ShardIndex::is_index(&file));
        let again = ShardIndex::parse(&file, &Limits::DEFAULT).unwrap();
        prop_assert_eq!(&again.shards, &shards);
        for (name, &nth) in &names {
            prop_assert_eq!(again.find(name), Some(nth));
        }
        prop_assert_eq!(again.len(), names.len());
        prop_assert!(ShardIndex::user_metadata(&file).eq(user.iter().map(|(k, v)| (&**k, &**v))));
    }

    #[test]
    fn shards_are_filled_in_order(
        sizes in prop::collection::vec(0u64..20, 0..30),
        most in 0u64..40,
    ) {
        let ranges = assign(&sizes, most);
        let all: Vec<_> = ranges.iter().cloned().flatten().collect();
        prop_assert_eq!(all, (0..sizes.len()).collect::<Vec<_>>());
        for (nth, range) in ranges.iter().enumerate() {
            let total: u64 = sizes[range.clone()].iter().sum();
            prop_assert!(!range.is_empty() && (total <= most || range.len() == 1));
            if nth + 1 < ranges.len() {
                prop_assert!(total + sizes[range.end] > most, "the next would have fit");
            }
        }
    }

    #[test]
    fn sizes_near_the_end_of_64_bits(
        sizes in prop::collection::vec(u64::MAX - 3..=u64::MAX, 0..5),
    ) {
        prop_assert_eq!(assign(&sizes, u64::MAX - 4).len(), sizes.len());
    }
}
