//! What is written is read, whatever the options, and the bytes of a file depend
//! on nothing but its content.

use crate::support::{Model, SMALL_FRAMES, With, backend, noise};
use deathtensors::core::digest::sha256;
use deathtensors::{Backend, Dtype, TensorFile, TensorSpec, WriteOptions, set_num_threads};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const BACKENDS: [Backend; 2] = [Backend::Mmap, Backend::Pread];

fn metadata() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("\\PC{0,6}", ".{0,12}", 0..3)
}

/// Shapes whose elements fill whole bytes in every dtype.
fn shape() -> impl Strategy<Value = Vec<u64>> {
    prop_oneof![
        (vec(0..4u64, 0..3), 0..24u64).prop_map(|(mut dims, last)| {
            dims.push(last * 8);
            dims
        }),
        vec(1..4u64, 0..3).prop_map(|mut dims| {
            dims.insert(0, 8);
            dims
        }),
    ]
}

prop_compose! {
    fn tensor()(
        text in "\\PC{0,8}",
        nth in 0..Dtype::ALL.len(),
        shape in shape(),
        metadata in metadata(),
        constant in any::<bool>(),
        tied_to in prop::option::weighted(0.3, any::<prop::sample::Index>()),
    ) -> (TensorSpec, bool, Option<prop::sample::Index>) {
        let mut spec = TensorSpec::new(text, Dtype::ALL[nth], shape);
        spec.metadata = metadata;
        (spec, constant, tied_to)
    }
}

prop_compose! {
    fn model()(tensors in vec(tensor(), 0..10), metadata in metadata()) -> Model {
        let mut model = Model { metadata, ..Default::default() };
        for (nth, (mut spec, constant, tied_to)) in tensors.into_iter().enumerate() {
            let name = format!("{nth}/{}", spec.name);
            match tied_to.filter(|_| nth > 0).map(|index| index.index(nth)) {
                Some(to) => model = model.tied(&name, to),
                None => {
                    let nbytes = spec.dtype.nbytes(&spec.shape).unwrap() as usize;
                    model.data.push(match constant {
                        true => vec![nth as u8; nbytes],
                        false => noise(nbytes, nth as u64),
                    });
                    spec.name = name;
                    model.specs.push(spec);
                }
            }
        }
        model
    }
}

prop_compose! {
    fn options()(
        checksum: bool,
        digests: bool,
        level in prop::option::of(prop_oneof![Just(1), Just(3), Just(9)]),
        alignment in prop_oneof![Just(1u64), Just(2), Just(64), Just(4096)],
        frame_bytes in prop_oneof![Just(SMALL_FRAMES), 1024..5000u64, Just(1 << 20)],
    ) -> WriteOptions {
        let mut options = WriteOptions::default();
        options.checksum = checksum;
        options.digests = digests;
        options.compress = level;
        options.alignment = alignment;
        options.frame_bytes = frame_bytes;
        options
    }
}

/// Everything that the file says and holds is what the model says.
fn check(model: &Model, options: &WriteOptions, file: &TensorFile) {
    assert_eq!(file.header().len(), model.specs.len());
    let said: BTreeMap<_, _> = file.header().global_metadata().iter().collect();
    assert!(
        said.into_iter()
            .eq(model.metadata.iter().map(|(k, v)| (&**k, &**v)))
    );
    let blob = file.catalogue().blob();
    assert_eq!(blob.start % options.alignment.max(64), 0);
    for (nth, (spec, data)) in model.specs.iter().zip(&model.data).enumerate() {
        let tensor = file.header().at(nth).unwrap();
        assert_eq!(tensor.name, spec.name);
        assert_eq!((tensor.dtype, tensor.shape), (spec.dtype, &*spec.shape));
        let said = tensor.metadata.iter();
        assert!(said.eq(spec.metadata.iter().map(|(k, v)| (&**k, &**v))));
        if !data.is_empty() {
            let step = options.alignment.max(spec.dtype.alignment());
            assert_eq!(tensor.start % step, 0);
        }
        if let Some(to) = spec.alias_of {
            assert_eq!(tensor.data(), file.header().at(to).unwrap().data());
        }
        assert_eq!(
            tensor.sha256.copied(),
            options.digests.then(|| sha256(data))
        );
        assert_eq!(file.digest(nth).unwrap(), sha256(data));
        assert!(*file.read(&spec.name).unwrap() == **data);
        assert!(*file.read_owned(nth, tensor.data()).unwrap() == **data);
        let mut copy = vec![0xaa; data.len()];
        file.read_into(&spec.name, &mut copy).unwrap();
        assert!(copy == *data);
        check_rows(spec, data, file);
    }
}

fn check_rows(spec: &TensorSpec, data: &[u8], file: &TensorFile) {
    let Some(&rows) = spec.shape.first().filter(|&&rows| rows > 0) else {
        return;
    };
    let row = data.len() / rows as usize;
    for (start, count) in [
        (0, 1),
        (rows / 2, 0),
        (rows / 3, rows - rows / 3),
        (rows - 1, 1),
    ] {
        let bits = spec.dtype.bits() * spec.shape[1..].iter().product::<u64>();
        let whole = |n: u64| (n * bits).is_multiple_of(8);
        if !whole(start) || !whole(start + count) {
            continue;
        }
        // Rows of a sub-byte dtype may be a fraction of a byte wide.
        let at = |n: u64| match bits % 8 {
            0 => n as usize * row,
            _ => (n * bits / 8) as usize,
        };
        let found = file.read_rows(&spec.name, start, count).unwrap();
        assert!(*found == data[at(start)..at(start + count)]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_is_read_by_both_backends(model in model(), options in options()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        model.write(&path, &options);
        for way in BACKENDS {
            let file = TensorFile::open_with(&path, &backend(way)).unwrap();
            prop_assert_eq!(file.is_compressed(), options.compress.is_some());
            check(&model, &options, &file);
            let found = file.verify(&mut ()).unwrap();
            prop_assert!(found.is_sound(), "{:?}", found.errors);
            prop_assert_eq!(found.footer, options.checksum.then_some(true));
            prop_assert_eq!(found.root, options.digests.then_some(true));
            prop_assert_eq!(found.frames, options.compress.map(|_| true));
            let each = vec![options.digests.then_some(true); model.specs.len()];
            prop_assert_eq!(found.tensors, each);
        }
    }

    #[test]
    fn bytes_do_not_depend_on_how_they_are_pushed(
        model in model(),
        options in options(),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
        together in 1..5usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        model.write(&path, &options);
        let first = fs::read(&path).unwrap();

        let all = model.wanted().concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(all.len() + 1)).collect();
        cuts.extend([0, all.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|pair| &all[pair[0]..pair[1]]).collect();
        let mut writer = model.create(&path, &options);
        for group in pieces.chunks(together) {
            writer.push_all(group, &mut ()).unwrap();
        }
        writer.finish().unwrap();
        prop_assert!(fs::read(&path).unwrap() == first);
    }
}

fn large() -> Model {
    let mut model = Model::default()
        .with("large", Dtype::F32, &[300, 1000])
        .with("small", Dtype::U8, &[7])
        .with("other", Dtype::Bf16, &[500, 401])
        .tied("tied", 0)
        .with("empty", Dtype::I64, &[0, 3])
        .with("middle", Dtype::F64, &[9001]);
    model.data[2].fill(3);
    model
}

fn written(model: &Model, path: &Path, options: &WriteOptions, piece: usize) -> Vec<u8> {
    let mut writer = model.create(path, options);
    match piece {
        0 => writer.push_all(&model.wanted(), &mut ()).unwrap(),
        _ => {
            let all = model.wanted().concat();
            let mut pieces = all.chunks(piece);
            pieces.try_for_each(|piece| writer.push(piece)).unwrap();
        }
    }
    writer.finish().unwrap();
    fs::read(path).unwrap()
}

/// Large enough that all cores hash and compress at once.
#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let model = large();
    for with in With::ALL {
        let mut options = with.options();
        options.frame_bytes = 40_000;
        set_num_threads(Some(1));
        let first = written(&model, &path, &options, 0);
        for (threads, piece) in [(2, 0), (2, 33_333), (7, 0), (7, 700_000), (1, 40_000)] {
            set_num_threads(Some(threads));
            let again = written(&model, &path, &options, piece);
            assert!(again == first, "{threads} threads, {with:?}, by {piece}");
            let file = TensorFile::open(&path).unwrap();
            model.assert_in(&file);
            let found = file.verify(&mut ()).unwrap();
            assert!(found.is_sound(), "{threads} threads, {:?}", found.errors);
        }
        set_num_threads(None);
    }
}

#[test]
fn statistics_depend_on_neither_threads_nor_compression() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let model = large();
    let mut seen: Vec<String> = Vec::new();
    for with in [With::PLAIN, With::FRAMES] {
        model.write(&path, &with.options());
        for (threads, way) in [(1, BACKENDS[0]), (3, BACKENDS[0]), (2, BACKENDS[1])] {
            set_num_threads(Some(threads));
            let file = TensorFile::open_with(&path, &backend(way)).unwrap();
            let all = file.all_stats(&mut ()).unwrap();
            let one_by_one = model.specs.iter().map(|s| file.stats(&s.name).unwrap());
            seen.push(format!("{:?}", one_by_one.collect::<Vec<_>>()));
            seen.push(format!("{all:?}"));
        }
        set_num_threads(None);
    }
    assert!(seen[0].contains("mean"));
    assert!(seen.iter().all(|stats| *stats == seen[0]));
}
