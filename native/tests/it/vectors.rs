//! Every conformance vector (`tests/vectors/README.md`): accepted and read as its answer
//! says, written again where it is canonical, or refused with its code. So
//! whatever this test runs on reads and writes the same format. Sparse tensors are put
//! together in Python, and their vectors are tried there alone.

use crate::support::backend;
use deathtensors::core::digest::{hex, sha256};
use deathtensors::core::manifest;
use deathtensors::{
    Backend, Dtype, Error, Limits, Metadata, OpenOptions, Result, ShardedFile, TensorFile,
    TensorSpec, TensorWriter, WriteOptions, from_safetensors, to_safetensors,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const BACKENDS: [Backend; 2] = [Backend::Mmap, Backend::Pread];

fn here(folder: &str) -> PathBuf {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    vectors.join(folder)
}

/// Undoes the generator's shortening of long strings.
fn restore(value: &mut Value) {
    if let (Some(part), Some(times)) = (value["repeat"].as_str(), value["times"].as_u64()) {
        *value = Value::from(part.repeat(times as usize));
        return;
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(restore),
        Value::Array(items) => items.iter_mut().for_each(restore),
        _ => {}
    }
}

fn answer(path: &Path) -> Value {
    let mut answer = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    restore(&mut answer);
    answer
}

/// The files of a folder with the answers beside them.
fn files(folder: &str) -> Vec<(PathBuf, Value)> {
    let entries = fs::read_dir(here(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let answers = paths.filter(|path| path.extension().is_some_and(|e| e == "json"));
    answers
        .map(|path| (path.with_extension("deathtensors"), answer(&path)))
        .collect()
}

/// The folders of a folder with the answers in them.
fn folders(folder: &str) -> Vec<(PathBuf, Value)> {
    let entries = fs::read_dir(here(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let folders = paths.filter(|path| path.is_dir());
    folders
        .map(|path| {
            let answer = answer(&path.join("expected.json"));
            (path, answer)
        })
        .collect()
}

fn strings(value: &Value) -> Vec<&str> {
    let items = value.as_array().unwrap();
    items.iter().map(|item| item.as_str().unwrap()).collect()
}

fn metadata_of(metadata: Metadata<'_>) -> Value {
    metadata.iter().map(|(k, v)| (k, Value::from(v))).collect()
}

#[test]
fn valid_files_are_read_as_expected() {
    let all = files("valid");
    assert!(all.len() >= 40);
    for (path, answer) in &all {
        for way in BACKENDS {
            check_valid(path, answer, way);
        }
    }
}

fn check_valid(path: &Path, answer: &Value, way: Backend) {
    let at = path.display();
    let file = TensorFile::open_with(path, &backend(way)).unwrap();
    let header = file.header();
    let names: Vec<_> = header.tensors().map(|tensor| tensor.name).collect();
    assert_eq!(names, strings(&answer["keys"]), "{at}");
    let said = json!({
        "global_metadata": metadata_of(header.global_metadata()),
        "compressed": file.is_compressed(),
        "checksum": file.catalogue().flags().checksum,
        "root": header.root().map(hex),
    });
    for (field, value) in said.as_object().unwrap() {
        assert_eq!(*value, answer[field], "{field} of {at}");
    }
    for tensor in header.tensors() {
        let data = file.read(tensor.name).unwrap();
        let found = json!({
            "dtype": tensor.dtype.as_str(),
            "shape": tensor.shape,
            "data_offsets": [tensor.start, tensor.end],
            "nbytes": data.len(),
            "metadata": metadata_of(tensor.metadata),
            "sha256": hex(&sha256(&data)),
        });
        assert_eq!(found, answer["tensors"][tensor.name], "{at}");
    }
    let verified = file.verify(&mut ()).unwrap();
    assert!(verified.is_sound(), "{at}: {:?}", verified.errors);
    assert_eq!(verified.footer.is_some(), answer["checksum"] == true);
    assert_eq!(verified.root.is_some(), answer["root"].is_string());
    if answer["digests"] == true {
        assert!(header.has_digests());
        assert!(verified.tensors.iter().all(|sound| *sound == Some(true)));
    }
}

#[test]
fn the_writer_makes_exactly_the_canonical_bytes() {
    let mut all = files("valid");
    all.retain(|(_, answer)| answer["canonical"] == true);
    assert!(all.len() >= 20, "{}", all.len());
    let folder = tempfile::tempdir().unwrap();
    let again = folder.path().join("again.deathtensors");
    for (path, answer) in &all {
        let file = TensorFile::open(path).unwrap();
        let specs = strings(&answer["keys"]).into_iter().map(|name| {
            let tensor = &answer["tensors"][name];
            let dtype = Dtype::parse(tensor["dtype"].as_str().unwrap()).unwrap();
            let shape: Vec<u64> = serde_json::from_value(tensor["shape"].clone()).unwrap();
            let mut spec = TensorSpec::new(name, dtype, shape);
            spec.metadata = serde_json::from_value(tensor["metadata"].clone()).unwrap();
            spec
        });
        let specs: Vec<_> = specs.collect();
        let metadata: BTreeMap<String, String> =
            serde_json::from_value(answer["global_metadata"].clone()).unwrap();
        let mut options = WriteOptions::default();
        options.checksum = answer["checksum"] == true;
        options.digests = answer["root"].is_string();
        let mut writer = TensorWriter::create(&again, &specs, &metadata, &options).unwrap();
        for name in strings(&answer["keys"]) {
            writer.push(&file.read(name).unwrap()).unwrap();
        }
        writer.finish().unwrap();
        let same = fs::read(&again).unwrap() == fs::read(path).unwrap();
        assert!(same, "{}", path.display());
    }
}

/// How far a file got before it was refused.
fn attempt(path: &Path, way: Backend) -> (&'static str, Error) {
    let file = match TensorFile::open_with(path, &backend(way)) {
        Ok(file) => file,
        Err(error) => return ("open", error),
    };
    for tensor in file.header().tensors() {
        if let Err(error) = file.read(tensor.name) {
            return ("read", error);
        }
    }
    let found = file.verify(&mut ()).map(|found| found.errors);
    let error = found.map_or_else(Some, |errors| errors.into_iter().next());
    let error = error.unwrap_or_else(|| panic!("{} was accepted", path.display()));
    ("verify", error)
}

#[test]
fn refused_files_are_refused_with_their_code() {
    const ORDER: [&str; 3] = ["open", "read", "verify"];
    let place = |when: &str| ORDER.iter().position(|known| *known == when).unwrap();
    let all = files("refused");
    assert!(all.len() >= 120);
    for (path, answer) in &all {
        for way in BACKENDS {
            let (when, error) = attempt(path, way);
            let at = path.display();
            assert_eq!(error.code().as_str(), answer["code"], "{at}: {error}");
            if let Some(tensor) = answer["tensor"].as_str() {
                assert_eq!(error.tensor_name(), Some(tensor), "{at}");
            }
            let latest = answer["when"].as_str().unwrap();
            assert!(place(when) <= place(latest), "{at}: {when}, not {latest}");
        }
    }
}

#[test]
fn valid_shards_are_read_as_expected() {
    let all = folders("sharded/valid");
    assert!(all.len() >= 4);
    for (path, answer) in &all {
        let index = path.join("index.deathtensors");
        let model = ShardedFile::open(&index, &OpenOptions::default(), true).unwrap();
        let names: Vec<_> = model.index().names().collect();
        assert_eq!(names, strings(&answer["keys"]));
        let metadata: Value = model.metadata().iter().cloned().collect();
        assert_eq!(metadata, answer["global_metadata"]);
        let shards = strings(&answer["shards"]);
        let paths: Vec<_> = shards.iter().map(|shard| path.join(shard)).collect();
        assert_eq!(model.shard_paths(), paths);
        for name in names {
            let nth = model.which(name).unwrap();
            assert_eq!(shards[nth], answer["which_shard"][name]);
            let file = model.file(name).unwrap();
            let digest = hex(&sha256(&file.read(name).unwrap()));
            assert_eq!(digest, answer["sha256"][name]);
        }
    }
}

#[test]
fn refused_shards_are_refused_with_their_code() {
    let all = folders("sharded/refused");
    assert!(all.len() >= 26);
    for (path, answer) in &all {
        let index = path.join("index.deathtensors");
        let error = match ShardedFile::open(&index, &OpenOptions::default(), false) {
            Err(error) => error,
            Ok(model) => {
                assert_eq!(answer["when"], "read", "{}", path.display());
                read_all(&model).expect_err("a fault")
            }
        };
        let code = error.code().as_str();
        assert_eq!(code, answer["code"], "{}: {error}", path.display());
    }
}

fn read_all(model: &ShardedFile) -> Result<()> {
    for name in model.index().names() {
        model.file(name)?.read(name)?;
    }
    Ok(())
}

#[test]
fn what_is_wrong_elsewhere_is_refused_with_its_code() {
    let all = folders("besides");
    let mut tried = 0;
    for (path, answer) in &all {
        let entries = fs::read_dir(path).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        let file = paths.find(|path| path.file_stem().is_some_and(|stem| stem == "file"));
        let file = file.unwrap();
        let out = tempfile::tempdir().unwrap();
        let made = out.path().join("out");
        let result = match answer["how"].as_str().unwrap() {
            "open" => {
                let mut options = OpenOptions::default();
                options.limits = Limits::from_json(&answer["limits"].to_string()).unwrap();
                TensorFile::open_with(&file, &options).map(drop)
            }
            "manifest" => manifest::parse(&fs::read(&file).unwrap(), &Limits::DEFAULT)
                .map(drop)
                .map_err(Error::from),
            "from_safetensors" => from_safetensors(&file, &made, &WriteOptions::default(), &mut ()),
            "to_safetensors" => to_safetensors(&file, &made, &mut ()),
            "sparse" => continue,
            how => panic!("no way to be {how}"),
        };
        let error = result.expect_err("a fault");
        let code = error.code().as_str();
        assert_eq!(code, answer["code"], "{}: {error}", path.display());
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
        tried += 1;
    }
    assert!(tried >= 13);
}
