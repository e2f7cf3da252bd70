//! The seekable format both ways with an implementation that shares no code.

use crate::support::{
    COMPRESSED, FOOTER, Model, SMALL_FRAMES, With, backend, entry, file, noise, refused,
};
use deathtensors::{AppendOptions, Backend, Code, Dtype, TensorFile, TensorWriter};
use proptest::prelude::*;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use zeekstd::{BytesWrapper, Decoder, EncodeOptions, FrameSizePolicy};

/// The blob of a file, as stored.
fn stored_blob(path: &std::path::Path) -> Vec<u8> {
    let blob = TensorFile::open(path).unwrap().catalogue().blob();
    fs::read(path).unwrap()[blob.start as usize..blob.end as usize].to_vec()
}

/// What the other implementation decodes from `start` to `end`, by its own reading
/// of the seek table.
fn theirs(blob: &[u8], start: usize, end: usize) -> Vec<u8> {
    let mut decoder = Decoder::new(BytesWrapper::new(blob)).unwrap();
    decoder.set_offset_limit(end as u64).unwrap();
    decoder.seek(SeekFrom::Start(start as u64)).unwrap();
    let mut out = Vec::new();
    decoder.read_to_end(&mut out).unwrap();
    out
}

fn model() -> Model {
    Model::default()
        .with("a", Dtype::U8, &[100])
        .with("b", Dtype::F32, &[70, 30])
        .tied("tied", 1)
        .with("c", Dtype::U8, &[3])
        .with("d", Dtype::F64, &[400])
        .with("empty", Dtype::F16, &[0])
        .with("e", Dtype::I16, &[10])
}

/// The uncompressed blob, gaps included, by our own plain files.
fn plain_blob(model: &Model) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.deathtensors");
    model.write(&path, &With::PLAIN.options());
    stored_blob(&path)
}

#[test]
fn our_blobs_are_decoded_by_zeekstd_from_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let model = model();
    let plain = plain_blob(&model);
    for with in With::ALL.into_iter().filter(|with| with.compress) {
        model.write(&path, &with.options());
        let blob = stored_blob(&path);
        assert!(theirs(&blob, 0, plain.len()) == plain);
        for (start, end) in [
            (0, 1),
            (99, 101),
            (1023, 1025),
            (5000, 11_600),
            (9_000, 9_001),
        ] {
            assert!(
                theirs(&blob, start, end) == plain[start..end],
                "{start}..{end}"
            );
        }
        let table = Decoder::new(BytesWrapper::new(&blob)).unwrap();
        let table = table.seek_table().clone();
        let file = TensorFile::open(&path).unwrap();
        let ours = file.frames().unwrap().unwrap();
        assert_eq!(table.num_frames() as usize, ours.len());
        assert!(ours.len() > 10);
        assert!(table.max_frame_size_decomp() <= SMALL_FRAMES);
        for (nth, frame) in (0..).zip(ours.frames()) {
            assert_eq!(table.frame_start_comp(nth).unwrap(), frame.stored.start);
            assert_eq!(table.frame_end_comp(nth).unwrap(), frame.stored.end);
            assert_eq!(table.frame_start_decomp(nth).unwrap(), frame.data.start);
            assert_eq!(table.frame_end_decomp(nth).unwrap(), frame.data.end);
        }
    }
}

#[test]
fn a_plain_decoder_reads_our_blobs_from_end_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let model = model();
    model.write(&path, &With::FRAMES.options());
    let all = zstd::stream::decode_all(&*stored_blob(&path)).unwrap();
    assert!(all == plain_blob(&model));
}

#[test]
fn what_was_appended_is_decoded_by_zeekstd() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    model().write(&path, &With::FRAMES.options());
    let more = Model::default().with("more", Dtype::F64, &[33]);
    let none = Default::default();
    let options = AppendOptions::default();
    let mut writer = TensorWriter::append(&path, &more.specs, &none, &options, &mut ()).unwrap();
    writer.push(&more.data[0]).unwrap();
    writer.finish().unwrap();
    let mut plain = plain_blob(&model());
    plain.resize(plain.len().next_multiple_of(8), 0);
    plain.extend_from_slice(&more.data[0]);
    assert!(theirs(&stored_blob(&path), 0, plain.len()) == plain);
}

/// What zeekstd makes of `data`.
fn made_by_zeekstd(data: &[u8], policy: FrameSizePolicy, checksum: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let options = EncodeOptions::new()
        .frame_size_policy(policy)
        .checksum_flag(checksum);
    let mut encoder = options.into_encoder(&mut out).unwrap();
    let mut left = data;
    while !left.is_empty() {
        left = &left[encoder.compress(left).unwrap()..];
    }
    encoder.finish().unwrap();
    out
}

/// The same blob with a table that also holds the low half of each frame's XXH64,
/// which is what a frame's own checksum is.
fn with_checksums_in_table(blob: &[u8]) -> Vec<u8> {
    let decoder = Decoder::new(BytesWrapper::new(blob)).unwrap();
    let table = decoder.seek_table();
    let frames = table.num_frames();
    let data_end = table.size_comp() as usize;
    let mut out = blob[..data_end].to_vec();
    out.extend_from_slice(&0x184d_2a5e_u32.to_le_bytes());
    out.extend_from_slice(&(frames * 12 + 9).to_le_bytes());
    for nth in 0..frames {
        let end = table.frame_end_comp(nth).unwrap() as usize;
        out.extend_from_slice(&(table.frame_size_comp(nth).unwrap() as u32).to_le_bytes());
        out.extend_from_slice(&(table.frame_size_decomp(nth).unwrap() as u32).to_le_bytes());
        out.extend_from_slice(&blob[end - 4..end]);
    }
    out.extend_from_slice(&frames.to_le_bytes());
    out.push(0x80);
    out.extend_from_slice(&0x8f92_eab1_u32.to_le_bytes());
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn blobs_of_zeekstd_open_here(
        sizes in proptest::collection::vec(0..4000usize, 1..6),
        frame in 64..3000u32,
        by_stored_size: bool,
        in_frames: bool,
        in_table: bool,
        footer: bool,
        row in any::<prop::sample::Index>(),
    ) {
        let data = noise(sizes.iter().sum(), 7);
        let policy = match by_stored_size {
            true => FrameSizePolicy::Compressed(frame),
            false => FrameSizePolicy::Uncompressed(frame),
        };
        let mut blob = made_by_zeekstd(&data, policy, in_frames || in_table);
        if in_table {
            blob = with_checksums_in_table(&blob);
            prop_assert!(theirs(&blob, 0, data.len()) == data);
        }
        let mut spans = Vec::new();
        for size in &sizes {
            let start = spans.last().map_or(0, |&(_, end)| end);
            spans.push((start, start + size));
        }
        let entries = spans.iter().enumerate();
        let entries: Vec<_> = entries.map(|(n, s)| entry(&format!("t{n}"), s.0, s.1)).collect();
        let flags = COMPRESSED | if footer { FOOTER } else { 0 };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        fs::write(&path, file(&entries.join(","), flags, &blob)).unwrap();
        for way in [Backend::Mmap, Backend::Pread] {
            let file = TensorFile::open_with(&path, &backend(way)).unwrap();
            prop_assert!(file.frames().unwrap().is_some());
            for (nth, &(start, end)) in spans.iter().enumerate() {
                let name = format!("t{nth}");
                prop_assert!(*file.read(&name).unwrap() == data[start..end]);
                if start < end {
                    let row = row.index(end - start);
                    let found = file.read_rows(&name, row as u64, 1).unwrap();
                    prop_assert!(*found == data[start + row..start + row + 1]);
                }
            }
            prop_assert!(file.verify(&mut ()).unwrap().is_sound());
        }
    }
}

#[test]
fn a_table_at_the_head_is_no_table_but_is_read_whole() {
    let data = noise(5000, 1);
    let mut table = zeekstd::SeekTable::new();
    let frame = zstd::bulk::compress(&data, 3).unwrap();
    table.log_frame(frame.len() as u32, 5000).unwrap();
    let mut blob = Vec::new();
    let format = zeekstd::seek_table::Format::Head;
    table
        .into_format_serializer(format)
        .read_to_end(&mut blob)
        .unwrap();
    blob.extend_from_slice(&frame);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    fs::write(&path, file(&entry("t", 0, 5000), COMPRESSED, &blob)).unwrap();
    let file = TensorFile::open(&path).unwrap();
    assert!(file.frames().unwrap().is_none());
    assert!(*file.read("t").unwrap() == *data);
    refused(file.read("u"), Code::TensorNotFound);
}
