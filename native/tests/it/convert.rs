//! From and to safetensors without a byte lost.

use crate::support::{Model, With, flip, names_in, noise, refused};
use deathtensors::core::manifest;
use deathtensors::{
    Code, Dtype, Limits, OpenOptions, TensorFile, from_safetensors, to_safetensors, write_manifest,
};
use std::fs;
use std::path::Path;

/// Tensors of every dtype that safetensors has, as its library lays them out:
/// without gaps, whatever that does to alignment.
fn safetensors(metadata: &str, order: impl Fn(usize) -> usize) -> Vec<u8> {
    let dtypes: Vec<_> = Dtype::ALL.iter().filter(|&&d| d != Dtype::C128).collect();
    let mut entries = vec![String::new(); dtypes.len()];
    let mut data = Vec::new();
    for nth in 0..dtypes.len() {
        let place = order(nth);
        let dtype = dtypes[place];
        let shape = [[3, 8], [0, 8], [1, 8]][place % 3];
        let nbytes = dtype.nbytes(&shape).unwrap() as usize;
        let (start, end) = (data.len(), data.len() + nbytes);
        data.extend_from_slice(&noise(nbytes, place as u64));
        entries[place] = format!(
            r#""t{place} ä\"":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        )
        .replace("[3, 8]", "[3,8]")
        .replace("[0, 8]", "[0,8]")
        .replace("[1, 8]", "[1,8]");
    }
    let mut json = format!("{{{metadata}{}}}", entries.join(","));
    while json.len() % 8 != 0 {
        json.push(' ');
    }
    let mut out = (json.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(json.as_bytes());
    out.extend_from_slice(&data);
    out
}

/// Converts there and back.
fn round(folder: &Path, original: &[u8], with: With) -> Vec<u8> {
    let paths = ["a.safetensors", "b.deathtensors", "c.safetensors"].map(|n| folder.join(n));
    fs::write(&paths[0], original).unwrap();
    from_safetensors(
        &paths[0],
        &paths[1],
        &with.options(),
        &Limits::DEFAULT,
        &mut (),
    )
    .unwrap();
    let file = TensorFile::open(&paths[1]).unwrap();
    let found = file.verify(&mut ()).unwrap();
    assert!(found.is_sound(), "{:?}", found.errors);
    assert_eq!(found.footer, with.checksum.then_some(true));
    assert_eq!(found.root, with.digests.then_some(true));
    to_safetensors(&paths[1], &paths[2], &OpenOptions::default(), &mut ()).unwrap();
    fs::read(&paths[2]).unwrap()
}

#[test]
fn there_and_back_is_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    for metadata in ["", r#""__metadata__":{"a":"1","format":"pt"},"#] {
        let original = safetensors(metadata, |nth| nth);
        for with in With::ALL {
            assert!(
                round(folder.path(), &original, with) == original,
                "{with:?}"
            );
        }
    }
    assert_eq!(names_in(folder.path()).len(), 3);
}

#[test]
fn data_in_another_order_than_the_header_comes_back_in_the_headers() {
    let folder = tempfile::tempdir().unwrap();
    let original = safetensors("", |nth| 21 - nth);
    let sorted = safetensors("", |nth| nth);
    assert!(original != sorted);
    for with in With::ALL {
        assert!(round(folder.path(), &original, with) == sorted);
    }
}

#[test]
fn a_file_without_tensors_converts() {
    let folder = tempfile::tempdir().unwrap();
    let original = [&8u64.to_le_bytes()[..], b"{}      "].concat();
    for with in With::ALL {
        assert!(round(folder.path(), &original, with) == original);
    }
}

#[test]
fn ours_come_back_with_their_metadata_and_ties_become_copies() {
    let folder = tempfile::tempdir().unwrap();
    let paths =
        ["a.deathtensors", "b.safetensors", "c.deathtensors"].map(|name| folder.path().join(name));
    let mut model = Model::default()
        .saying("author", "somebody")
        .with("one", Dtype::U8, &[3])
        .with("a", Dtype::F32, &[700])
        .tied("tied", 1)
        .with("b", Dtype::F64, &[2, 3]);
    model.specs[1].metadata.insert("unit".into(), "m".into());
    for with in With::ALL {
        model.write(&paths[0], &with.options());
        to_safetensors(&paths[0], &paths[1], &OpenOptions::default(), &mut ()).unwrap();
        from_safetensors(
            &paths[1],
            &paths[2],
            &with.options(),
            &Limits::DEFAULT,
            &mut (),
        )
        .unwrap();
        model.assert_is(&paths[2]);
        let file = TensorFile::open(&paths[2]).unwrap();
        assert_eq!(
            file.header().get("a").unwrap().metadata.get("unit"),
            Some("m")
        );
        assert_eq!(
            file.header().global_metadata().get("author"),
            Some("somebody")
        );
        assert_ne!(
            file.header().get("a").unwrap().start,
            file.header().get("tied").unwrap().start
        );
    }
}

#[test]
fn what_cannot_be_converted_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let options = With::PLAIN.options();
    Model::default()
        .with("c", Dtype::C128, &[2])
        .write(&from, &options);
    let error = refused(
        to_safetensors(&from, &to, &OpenOptions::default(), &mut ()),
        Code::SafetensorsDtype,
    );
    assert_eq!(
        (error.tensor_name(), error.path()),
        (Some("c"), Some(&*from))
    );
    let foreign = from_safetensors(&from, &to, &options, &Limits::DEFAULT, &mut ());
    let error = refused(foreign, Code::SafetensorsInvalid);
    assert_eq!(error.path(), Some(&*from));

    let mut cut = safetensors("", |nth| nth);
    cut.pop();
    for bytes in [&cut[..], b"", b"1234567", &[0xff; 40]] {
        fs::write(&from, bytes).unwrap();
        let error = refused(
            from_safetensors(&from, &to, &options, &Limits::DEFAULT, &mut ()),
            Code::SafetensorsInvalid,
        );
        assert_eq!(error.path(), Some(&*from));
    }
    Model::default()
        .with("t", Dtype::U8, &[5000])
        .write(&from, &With::FRAMES.options());
    let start = TensorFile::open(&from).unwrap().catalogue().blob().start;
    flip(&from, start + 2000);
    refused(
        to_safetensors(&from, &to, &OpenOptions::default(), &mut ()),
        Code::FramesChecksum,
    );
    let nowhere = folder.path().join("nowhere");
    refused(
        to_safetensors(&nowhere, &to, &OpenOptions::default(), &mut ()),
        Code::FileNotFound,
    );
    refused(
        from_safetensors(&nowhere, &to, &options, &Limits::DEFAULT, &mut ()),
        Code::FileNotFound,
    );
    assert_eq!(names_in(folder.path()), ["from"]);
}

#[test]
fn the_manifest_says_what_the_file_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let model = Model::default()
        .saying("author", "somebody")
        .with("a", Dtype::F32, &[3, 4]);
    model.write(&path, &With::DIGESTS.options());
    let sidecar = folder.path().join("m.deathtensors.json");
    let file = TensorFile::open(&path).unwrap();
    write_manifest(&file, &sidecar, "2026-01-02T03:04:05Z").unwrap();
    let text = fs::read(&sidecar).unwrap();
    let read = manifest::parse(&text, &Limits::DEFAULT).unwrap();
    assert_eq!(format!("{read:?}").matches("somebody").count(), 1);
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains("2026-01-02T03:04:05Z")
    );
}
