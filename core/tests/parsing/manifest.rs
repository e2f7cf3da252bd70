//! The manifest sidecar.

use crate::support::{map, options, pairs, plan, specs, why};
use deathtensors_core::{Code, Dtype, Limits, TensorSpec, WriteOptions, manifest};
use proptest::prelude::*;
use serde_json::Value;

/// As deathtensors 0.3.0 wrote it.
const OLD: &str = r#"{
  "deathtensors_version": "0.3.0",
  "format_version": 1,
  "magic": "DTLEGION",
  "global_metadata": {
    "g": "1"
  },
  "tensors": {
    "w": {
      "name": "w",
      "dtype": "F32",
      "torch_dtype": "torch.float32",
      "numpy_dtype": "<f4",
      "shape": [
        2,
        3
      ],
      "data_offsets": [
        0,
        24
      ],
      "nbytes": 24,
      "metadata": {
        "k": "\u00e9"
      }
    },
    "b": {
      "name": "b",
      "dtype": "BF16",
      "torch_dtype": "torch.bfloat16",
      "numpy_dtype": "<f2",
      "shape": [
        2
      ],
      "data_offsets": [
        24,
        28
      ],
      "nbytes": 4,
      "metadata": {}
    },
    "s": {
      "name": "s",
      "dtype": "I64",
      "torch_dtype": "torch.int64",
      "numpy_dtype": "<i8",
      "shape": [],
      "data_offsets": [
        28,
        36
      ],
      "nbytes": 8,
      "metadata": {}
    }
  },
  "written_at": "2026-11-22T22:28:36.536722+00:00"
}"#;

fn read(text: &str) -> deathtensors_core::Result<manifest::Manifest> {
    manifest::parse(text.as_bytes(), &Limits::DEFAULT)
}

#[test]
fn the_old_ones_are_read_and_spelled_alike() {
    let found = read(OLD).unwrap();
    assert_eq!(found.library_version.as_deref(), Some("0.3.0"));
    assert_eq!(
        found.written_at.as_deref(),
        Some("2026-11-22T22:28:36.536722+00:00")
    );
    let header = &found.header;
    let spans: Vec<_> = header
        .tensors()
        .map(|t| (t.name, t.dtype, t.shape, t.data()))
        .collect();
    let wanted = [
        ("w", Dtype::F32, &[2, 3][..], 0..24),
        ("b", Dtype::Bf16, &[2], 24..28),
        ("s", Dtype::I64, &[], 28..36),
    ];
    assert_eq!(spans, wanted);
    assert_eq!(header.find("w").unwrap().metadata.get("k"), Some("é"));
    assert_eq!(header.global_metadata().get("g"), Some("1"));

    // Ours differs in what NumPy calls a bfloat16, and in nothing else.
    let ours = manifest::emit(header, "0.3.0", "2026-11-22T22:28:36.536722+00:00");
    assert_eq!(ours, OLD.replace("<f2", "bfloat16"));
}

#[test]
fn a_manifest_in_full() {
    let mut options = WriteOptions::default();
    options.digests = true;
    let specs = [
        TensorSpec::new("q", Dtype::F6_E2M3, [4]),
        TensorSpec::new("e", Dtype::U8, [0]),
    ];
    let plan = plan(&specs, &map(&[]), &options);
    let text = manifest::emit(plan.header(), "0.4.0", "now");
    let seen: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        text,
        serde_json::to_string_pretty(&seen).unwrap(),
        "indented by two"
    );
    let keys: Vec<_> = seen.as_object().unwrap().keys().collect();
    let wanted = [
        "deathtensors_version",
        "format_version",
        "magic",
        "global_metadata",
        "tensors",
        "root_sha256",
        "written_at",
    ];
    assert_eq!(keys, wanted);
    let q = seen["tensors"]["q"].as_object().unwrap();
    let wanted = [
        "name",
        "dtype",
        "torch_dtype",
        "numpy_dtype",
        "shape",
        "data_offsets",
        "nbytes",
        "metadata",
        "sha256",
    ];
    assert_eq!(q.keys().collect::<Vec<_>>(), wanted);
    assert_eq!(
        (&q["torch_dtype"], &q["numpy_dtype"], &q["nbytes"]),
        (&Value::Null, &Value::Null, &Value::from(3))
    );
    let again = read(&text).unwrap();
    assert_eq!(again.header.root(), plan.header().root());
    assert!(again.header.has_digests());
}

#[test]
fn what_is_not_a_manifest() {
    let swap = |from: &str, to: &str| {
        assert!(OLD.contains(from), "{from}");
        why(read(&OLD.replacen(from, to, 1)))
    };
    let plain = (Code::ManifestInvalid, None);
    for text in [
        "",
        "null",
        "[]",
        "{}",
        "{",
        &OLD[1..],
        &format!("{OLD}x"),
        &OLD[..OLD.len() - 1],
    ] {
        assert_eq!(why(read(text)), plain, "{}", &text[..text.len().min(9)]);
    }
    assert_eq!(why(manifest::parse(b"{\xff}", &Limits::DEFAULT)), plain);
    assert_eq!(swap("DTLEGION", "DTLEGIOM"), plain);
    assert_eq!(swap("\"magic\"", "\"magik\""), plain);
    assert_eq!(
        swap("\"format_version\": 1", "\"format_version\": 2"),
        plain
    );
    assert_eq!(swap("\"format_version\": 1,", ""), plain);
    assert_eq!(swap("\"tensors\"", "\"tensor\""), plain);
    assert_eq!(
        swap(
            "\"magic\": \"DTLEGION\"",
            "\"magic\": \"DTLEGION\", \"magic\": \"DTLEGION\""
        ),
        plain
    );
    assert_eq!(
        swap("\"written_at\": \"", "\"written_at\": 5, \"x\": \""),
        plain
    );
    let w = |code| (code, Some("w".into()));
    assert_eq!(
        swap("\"name\": \"w\"", "\"name\": \"v\""),
        w(Code::ManifestInvalid)
    );
    assert_eq!(
        swap("\"name\": \"w\"", "\"name\": 1"),
        w(Code::ManifestInvalid)
    );
    assert_eq!(
        swap("\"data_offsets\"", "\"offsets\""),
        w(Code::ManifestInvalid)
    );
    assert_eq!(
        swap("\"nbytes\": 24", "\"nbytes\": 25"),
        w(Code::TensorSize)
    );
    assert_eq!(
        swap("\"nbytes\": 24", "\"nbytes\": \"24\""),
        w(Code::ManifestInvalid)
    );
    assert_eq!(
        swap("\"dtype\": \"F32\"", "\"dtype\": \"F64\""),
        w(Code::TensorSize)
    );
    assert_eq!(
        swap("\"dtype\": \"F32\"", "\"dtype\": \"FP32\""),
        w(Code::TensorDtype)
    );
    assert_eq!(
        swap("        24,\n        28\n", "        23,\n        27\n"),
        (Code::TensorOverlap, Some("b".into()))
    );
    assert_eq!(swap("\"w\": {", "\"\": {").0, Code::TensorNameEmpty);
}

#[test]
fn what_is_tolerated() {
    let swap = |from: &str, to: &str| read(&OLD.replacen(from, to, 1)).unwrap();
    swap("\"nbytes\": 24", "\"nbytes\": 24, \"extra\": [1, {}]");
    swap("\"nbytes\": 24,", "");
    swap("\"numpy_dtype\": \"<f4\"", "\"numpy_dtype\": null");
    swap("\"magic\"", "\"extra\": null, \"magic\"");
    assert!(swap("\"written_at\"", "\"written\"").written_at.is_none());
    assert!(
        swap("\"deathtensors_version\"", "\"version\"")
            .library_version
            .is_none()
    );
    read(&format!(" {OLD}\n")).unwrap();
}

proptest! {
    #[test]
    fn manifests_come_back(
        specs in specs(),
        global in pairs(),
        options in options(),
        version in crate::support::text(),
    ) {
        let plan = plan(&specs, &global, &options);
        let text = manifest::emit(plan.header(), &version, "at noon");
        prop_assert!(text.is_ascii());
        let again = read(&text).unwrap();
        prop_assert_eq!(again.library_version.as_deref(), Some(&*version));
        prop_assert_eq!(again.written_at.as_deref(), Some("at noon"));
        // The same header, but for the note of who wrote it.
        let created_by = concat!(
            "\"created_by\":\"deathtensors ",
            env!("CARGO_PKG_VERSION"),
            "\","
        );
        prop_assert_eq!(
            again.header.to_json(),
            plan.header().to_json().replacen(created_by, "", 1)
        );

        let seen: Value = serde_json::from_str(&text).unwrap();
        for t in plan.header().tensors() {
            let entry = &seen["tensors"][t.name];
            prop_assert_eq!(&entry["name"], t.name);
            prop_assert_eq!(&entry["nbytes"], t.nbytes());
            prop_assert_eq!(&entry["torch_dtype"], &Value::from(t.dtype.torch_name()));
            prop_assert_eq!(&entry["numpy_dtype"], &Value::from(t.dtype.numpy_name()));
        }
    }

    #[test]
    fn damaged_manifests_never_panic(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut text = OLD.as_bytes().to_vec();
        let at = at.index(text.len());
        text[at] = byte;
        if cut {
            text.truncate(at);
        }
        if let Ok(found) = manifest::parse(&text, &Limits::DEFAULT) {
            for t in found.header.tensors() {
                prop_assert_eq!(t.dtype.nbytes(t.shape).unwrap(), t.nbytes());
            }
        }
    }
}
